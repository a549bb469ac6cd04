"""PolarGrad with momentum first.

Lau, Long & Su, arXiv:2505.21799, and the authors' program:

    M_t = β M_{t-1} + (1−β) G_t
    U_t = polar(M_t),   ν_t = <M_t, U_t>_F
    θ_t = θ_{t-1} − η ( ν_t U_t + λ θ_{t-1} )
"""

from __future__ import annotations

import numpy as np

import funcopt
from tests.reference.adam import adamw
from tests.reference.muon import KELLER, mean_gradient, polar
from tests.row import DECAY, DECAYING, Row

EXPRESS = (  # Amsel et al., arXiv:2505.16932, algorithm 1
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)
EXPRESS = (*((a / 1.01, b / 1.01**3, c / 1.01**5) for a, b, c in EXPRESS), (1.875, -1.25, 0.375))


def polargrad(
    p,
    g,
    slots,
    t,
    lr,
    beta=0.95,
    weight_decay=0.0,
    *,
    nesterov=False,
    ns_coeffs=EXPRESS,
    ns_steps=8,
    ns_eps=1e-7,
    otherwise_rate=1.0,
):
    """One step of a matrix, slot `trace`; one AdamW step of all else, slots `mu` and `nu`."""
    if np.ndim(p) != 2:
        rate = lr * otherwise_rate
        return adamw(p, g, slots, t, rate, 0.9, 0.95, 1e-10, weight_decay=weight_decay)
    trace, m = mean_gradient(g, slots, beta, nesterov)
    u = polar(m, ns_coeffs, ns_steps, ns_eps)
    nuclear = np.sum(m * np.conj(u)).real
    return p - lr * (nuclear * u + weight_decay * p), {"trace": trace}


ROWS = [
    Row(
        "polargrad",
        funcopt.polargrad,
        reference=polargrad,
        scheduled={"beta": (0.95, 0.8), **DECAY},
        uneven=True,
        optax_differs="optax.contrib.muon(adaptive=True) has another mean and another scale",
        keeps_moving=True,
    ),
    Row(
        "polargrad-decay",
        funcopt.polargrad,
        {
            "beta": 0.8,
            "weight_decay": 0.1,
            "nesterov": True,
            "ns_coeffs": KELLER,
            "ns_steps": 5,
            "ns_eps": 1e-3,
            "otherwise_rate": 0.5,
        },
        reference=polargrad,
        uneven=True,
        optax_differs="optax.contrib.muon(adaptive=True) has another mean and another scale",
        **DECAYING,
    ),
]
