"""SignSGD and Signum.

Bernstein et al., "signSGD: compressed optimisation for non-convex problems", arXiv:1802.04434,
algorithm 1 on one machine, and section 4:

    SignSGD   θ_t = θ_{t-1} − η sign(g_t)
    Signum    m_t = β m_{t-1} + (1−β) g_t
              θ_t = θ_{t-1} − η sign(m_t)
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import Row, block


def sign_sgd(p, g, slots, t, lr):
    """One SignSGD step; no slots."""
    return p - lr * np.sign(g), {}


def signum(p, g, slots, t, lr, beta=0.9):
    """One Signum step; slot `ema`."""
    mean = beta * (slots or {"ema": np.zeros_like(p)})["ema"] + (1 - beta) * g
    return p - lr * np.sign(mean), {"ema": mean}


ROWS = [
    Row("sign-sgd", funcopt.sign_sgd, reference=sign_sgd, signs=True, optax=optax.sign_sgd),
    Row(
        "signum",
        funcopt.signum,
        {"beta": 0.8},
        reference=signum,
        signs=True,
        keeps_moving=True,
        scheduled={"beta": (0.9, 0.6)},
        optax=optax.signum,
    ),
    block("scale_by_sign", funcopt.scale_by_sign, reference=sign_sgd, signs=True),
]
