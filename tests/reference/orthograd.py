"""OrthoGrad.

Prieto et al., "Grokking at the Edge of Numerical Stability", arXiv:2501.04697, section 5:

    ∇⊥ L = ∇L − (θᵀ∇L / θᵀθ) θ

whose length is made that of ∇L, as in the authors' program. Nothing is left of what is rounding.
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.row import block


def orthograd(p, g, slots, t, lr):
    x, y = np.ravel(p), np.ravel(g)
    along = np.real(np.vdot(x, y)) / max(np.real(np.vdot(x, x)), 1e-300)
    across = g - along * p
    whole, rest = np.linalg.norm(y), np.linalg.norm(np.ravel(across))
    if rest <= 4 * np.finfo(float).eps * whole:
        return p, {}
    return p - lr * whole / rest * across, {}


ROWS = [
    block(
        "orthograd",
        funcopt.orthograd,
        reference=orthograd,
        optax_differs="optax has no such transformation",
    ),
]
