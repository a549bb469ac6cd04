"""Optimistic gradient descent, and optimistic Adam.

Mokhtari et al., "A unified analysis of extra-gradient and optimistic gradient methods for saddle
point problems: proximal point approach", arXiv:1901.08511, section 4.2, for two rates:

    θ_t = θ_{t-1} − η (α + β) g_t + η β g_{t-1},   g_0 = g_1

Daskalakis et al., "Training GANs with optimism", arXiv:1711.00141, algorithm 1, has Adam's
direction for g.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.reference.adam import adam
from tests.row import ADAM, POWERS, Row, block


def optimistic_gradient_descent(p, g, slots, t, lr, alpha=1.0, beta=1.0):
    """One step; slot `previous_gradient`."""
    before = slots["previous_gradient"] if slots else g
    return p - lr * ((alpha + beta) * g - beta * before), {"previous_gradient": g}


def optimistic_adam_v2(p, g, slots, t, lr, alpha=1.0, beta=1.0, nesterov=True, **hyper):
    """One step; slots of Adam and `previous_gradient`, a direction of Adam's."""
    slots = dict(slots or {})
    before = slots.pop("previous_gradient", None)
    end, moments = adam(np.zeros_like(p), g, slots, t, 1.0, nesterov=nesterov, **hyper)
    step = {} if before is None else {"previous_gradient": before}
    p, kept = optimistic_gradient_descent(p, -end, step, t, lr, alpha, beta)
    return p, {**moments, **kept}


SCHEDULED = {"alpha": (1.0, 0.5), "beta": (1.0, 0.5)}
ROWS = [
    Row(
        "optimistic_gradient_descent",
        funcopt.optimistic_gradient_descent,
        reference=optimistic_gradient_descent,
        keeps_moving=True,
        scheduled=SCHEDULED,
        optax=optax.optimistic_gradient_descent,
    ),
    Row(
        "optimistic_adam_v2",
        funcopt.optimistic_adam_v2,
        {"alpha": 0.8, "beta": 0.5},
        reference=optimistic_adam_v2,
        keeps_moving=True,
        scheduled={**SCHEDULED, **ADAM},
        optax=optax.optimistic_adam_v2,
        optax_rounds=POWERS,
    ),
    Row(
        "optimistic_adam_v2-plain",
        funcopt.optimistic_adam_v2,
        {"b1": 0.7, "b2": 0.95, "eps": 1e-4, "nesterov": False},
        reference=optimistic_adam_v2,
        keeps_moving=True,
        scheduled={**SCHEDULED, **ADAM},
        optax=optax.optimistic_adam_v2,
        optax_rounds=POWERS,
    ),
    block(
        "scale_by_optimistic_gradient",
        funcopt.scale_by_optimistic_gradient,
        {"alpha": 1.5, "beta": 0.5},
        reference=optimistic_gradient_descent,
        keeps_moving=True,
        scheduled=SCHEDULED,
    ),
]
