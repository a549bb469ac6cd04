"""Powers with negative exponents of Hermitian matrices, whose eigenvalues may be 0.

    A⁻ᵖ = Q (λ + ridge)⁻ᵖ Qᴴ        where A = Q λ Qᴴ; a negative λ, which rounding makes, is 0

The derivative is told by quotients of differences of powers (Daleckii and Krein), which are finite
where two eigenvalues are equal, unlike derivatives of eigenvectors: Higham, 2008, section 3.2.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from .decompositions import eigh


def inverse_root(
    x: Inexact[Array, "*b n n"], exponent: Any, eps: Any, relative: bool
) -> Inexact[Array, "*b n n"]:
    """x to the power −`exponent`, where `eps` is added to its eigenvalues.

    `relative`: `eps` times the largest of them is; where that is 0, the identity.
    """
    real = jnp.finfo(x.dtype).dtype
    exponent, eps = jnp.asarray(exponent, real), jnp.asarray(eps, real)
    # No element of such a matrix is larger than those of its diagonal.
    largest = jnp.max(jnp.diagonal(x, axis1=-2, axis2=-1).real, -1, initial=0)
    unit = jax.lax.stop_gradient(jnp.where(largest > 0, largest, 1))[..., None, None]
    scaled = x / unit.astype(x.dtype)
    root = _power(scaled, exponent, eps if relative else eps / unit[..., 0], relative)
    return (unit**-exponent).astype(x.dtype) * root


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _power(x: Array, exponent: Array, eps: Array, relative: bool) -> Array:
    values, basis = eigh(x)
    return _composed(basis, _damped(values, eps, relative) ** -exponent)


@_power.defjvp
def _derivative(relative: bool, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    x, exponent, eps = primals
    dx, dexponent, deps = tangents
    values, basis = eigh(x)
    inner = basis.conj().mT @ dx @ basis
    diagonal = jnp.diagonal(inner, axis1=-2, axis2=-1).real

    def powers(values: Array, exponent: Array, eps: Array) -> Array:
        return _damped(values, eps, relative) ** -exponent

    root, droot = jax.jvp(powers, (values, exponent, eps), (diagonal, dexponent, deps))
    damped = _damped(values, eps, relative)
    logs = jnp.log(damped)
    ratio = logs[..., :, None] - logs[..., None, :]
    equal = ratio == 0
    quotient = jnp.expm1(-exponent * ratio) / jnp.expm1(jnp.where(equal, 1, ratio))
    slope = jnp.where(equal, -exponent, quotient) * (root / damped)[..., None, :]
    turned = jnp.where(jnp.eye(x.shape[-1], dtype=bool), 0, slope.astype(x.dtype) * inner)
    tangent = _composed(basis, droot) + basis @ turned @ basis.conj().mT
    return _composed(basis, root), tangent


def _damped(values: Float[Array, "*b n"], eps: Array, relative: bool) -> Float[Array, "*b n"]:
    values = jnp.where(values < 0, 0, values)
    if not relative:
        return values + eps
    largest = jnp.max(values, -1, keepdims=True, initial=0)
    return jnp.where(largest > 0, values + eps * largest, 1)


def _composed(basis: Inexact[Array, "*b n n"], values: Float[Array, "*b n"]) -> Array:
    scaled = basis * values[..., None, :].astype(basis.dtype)
    return jnp.matmul(scaled, basis.conj().mT, precision="highest")
