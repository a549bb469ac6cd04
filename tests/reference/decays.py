"""Weight decays beside Adam's step s = −η u.

    l2             g ← g + λ θ, before all else
    after          θ ← (1 − η λ) (θ + s)                Vyas et al., arXiv:2409.11321
    corrected      θ ← θ + s − η²/η_max λ θ             Defazio, arXiv:2506.02285
    squared        θ ← θ + s − η² λ θ
    cautious       θ ← θ + s − η λ θ where u θ ≥ 0      Chen et al., arXiv:2510.12402
    proximal       θ ← (θ + s) / (1 + η λ)              Xie et al., arXiv:2208.06677

The independent one, θ ← θ + s − λ θ, which a rate of 0 does not stop, is in `tests/test_decay.py`.
"""

from __future__ import annotations

import numpy as np

import funcopt
from funcopt import decays
from tests.reference.adam import adam
from tests.row import ADAM, DECAYING, Row

NONE = "optax has no such decay"


def decayed(p, g, slots, t, lr, decay, weight_decay, largest=None, **hyper):
    """One step of Adam with a decay; slots `mu` and `nu`."""
    g = g + weight_decay * p if decay == "l2" else g
    after, slots = adam(p, g, slots, t, lr, **hyper)
    shrinks = np.real((after - p) * np.conj(p)) <= 0
    part = {
        "corrected": lr**2 * weight_decay / (largest or 1),
        "squared": lr**2 * weight_decay,
        "cautious": lr * weight_decay * shrinks,
    }
    if decay == "after":
        return (1 - lr * weight_decay) * after, slots
    if decay == "proximal":
        return after / (1 + lr * weight_decay), slots
    return after - part.get(decay, 0) * p, slots


def row(name, decay, **told):
    return Row(
        f"adamw-{name}",
        funcopt.adamw,
        {"weight_decay": decay},
        reference=decayed,
        reference_kwargs={"decay": name, **told},
        scheduled=ADAM,
        optax_differs=NONE,
        **DECAYING,
    )


ROWS = [
    row("l2", decays.l2(0.3), weight_decay=0.3),
    row("after", decays.decoupled(0.3, "after"), weight_decay=0.3),
    row("corrected", decays.corrected(0.3, 0.1), weight_decay=0.3, largest=0.1),
    row("squared", decays.squared(6.0), weight_decay=6.0),
    row("cautious", decays.cautious(0.3), weight_decay=0.3),
    row("proximal", decays.proximal(0.3), weight_decay=0.3),
]
