"""optax's algorithms by funcopt: called as optax's, over optax's states.

Each is made when it is used first, by `__getattr__` below.
"""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import funcopt

from ..core.arguments import is_number, is_tracer
from ..core.transformation import GradientTransformation
from ..core.value import value_factory
from .layout import InOptaxState

if TYPE_CHECKING:
    from optax import *  # noqa: F403  # pyright: ignore[reportWildcardImportFromLibrary]


def _signed(x: Any) -> Any:
    """A number that may be negative, as the rate of a gradient ascent is: funcopt takes negative
    numbers from schedules only, since elsewhere one is a slip.
    """
    if is_number(x) and not is_tracer(x) and jnp.ndim(x) == 0 and float(x) < 0:
        return funcopt.constant_schedule(float(x))
    return x


def _flags(mask: Any) -> Any:
    """A mask whose flags may be written 0 and 1."""
    if mask is None or callable(mask) or isinstance(mask, str):
        return mask
    return jax.tree.map(lambda x: bool(x) if isinstance(x, int | np.integer) else x, mask)


CONVERSIONS = {
    "learning_rate": _signed,
    "weight_decay": _signed,
    "mask": _flags,
    "trust_ratio_mask": _flags,
}


def _mask_for_optax(x: Any) -> Any:
    """A mask that optax takes in place of a pattern of funcopt's: in its state, all are alike."""
    return (lambda params: jax.tree.map(lambda _: True, params)) if isinstance(x, str) else x


def in_optax_state(
    name: str,
    ours: Callable[..., Any],
    *,
    renamed: dict[str, str] | None = None,
    left: tuple[str, ...] = (),
    only: Callable[[dict[str, Any]], bool] = lambda _: True,
    none: dict[str, Any] | None = None,
    module: Any = optax,
    **always: Any,
) -> Callable[..., GradientTransformation]:
    """optax's function of that name, computed by funcopt's `ours`.

    Args:
        name: of a factory in optax.
        ours: one whose arguments have the same names and meanings.
        renamed: what arguments are called in funcopt, where that is another name.
        left: arguments that funcopt has not, since `always` says what they mean.
        only: whether funcopt has what these arguments ask for; where not, it is optax's.
        none: what None means of arguments, by their names in optax.
        module: the one of optax that it is in.
        always: arguments of `ours` beyond those of optax's.
    """
    theirs = getattr(module, name)
    signature = inspect.signature(theirs)

    def function(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        if not only(given):
            return theirs(*args, **kwargs)
        masks = {name: _mask_for_optax(x) for name, x in given.items() if name.endswith("mask")}
        own: dict[str, Any] = {**always}
        for argument, x in given.items():
            if argument not in left:
                x = (none or {}).get(argument) if x is None else x
                argument = (renamed or {}).get(argument, argument)
                own[argument] = CONVERSIONS.get(argument, lambda x: x)(x)
        return InOptaxState(ours(**own), theirs(**{**given, **masks}))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = ours.__doc__
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    vars(function)["__signature__"] = inspect.Signature(plain)
    factory = value_factory(GradientTransformation, function)
    vars(factory)["shown"] = f"{module.__name__}.{name}"
    # Only now, for a look into the names of a lazy module loads them all.
    function.__module__ = factory.__module__ = "funcopt.optax"
    return factory


def _has_rate(given: dict[str, Any]) -> bool:
    return given["learning_rate"] is not None


CORRECTIONS = ("bias_correction_mu", "bias_correction_nu")


def _corrects(given: dict[str, Any]) -> bool:
    return all(given[name] is True for name in CORRECTIONS)


def _decays_by_power(given: dict[str, Any]) -> bool:
    default = inspect.signature(optax.scale_by_factored_rms).parameters["decay_rate_fn"].default
    return given["decay_rate_fn"] is default


CORRECTED: dict[str, Any] = {"left": CORRECTIONS, "only": _corrects}
DIFFERENT: dict[str, dict[str, Any]] = {
    "adadelta": {"renamed": {"weight_decay_mask": "mask"}, "only": _has_rate},
    "adafactor": {
        "renamed": {"weight_decay_rate": "weight_decay", "weight_decay_mask": "mask"},
        "none": {"learning_rate": 1.0, "weight_decay_rate": 0.0},
    },
    "adan": {"variant": "optax"},
    "amsgrad": CORRECTED,
    "lars": {"renamed": {"weight_decay_mask": "mask"}, "variant": "optax"},
    "nadam": {"ours": "adam"},
    "nadamw": {"ours": "adamw"},
    "scale_by_adan": {"variant": "optax"},
    "scale_by_amsgrad": CORRECTED,
    "scale_by_factored_rms": {
        "left": ("decay_rate_fn",),
        "only": _decays_by_power,
    },
    "scale_by_learning_rate": {"only": _has_rate},
    "scale_by_lion": {
        "left": ("mode", "smooth_beta"),
        "only": lambda given: given["mode"] == "hard",
    },
    "scale_by_schedule": {"ours": "scale", "renamed": {"step_size_fn": "step_size"}},
}
"""What `in_optax_state` is told of some; `ours` is another name in funcopt."""


def global_norm(updates: Any) -> jax.Array:
    """The Euclidean norm of all leaves together: `funcopt.global_norm`."""
    return funcopt.global_norm(updates)


def __getattr__(name: str) -> Any:
    if name == "chain":
        return funcopt.chain
    if name.startswith("_") or not hasattr(optax, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    told = DIFFERENT.get(name, {})
    ours = getattr(funcopt, told.get("ours", name))
    return globals().setdefault(name, in_optax_state(name, **{**told, "ours": ours}))
