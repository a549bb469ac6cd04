"""Projections after a step, Rosen, 1960: the parameter is that of the step, projected."""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import block


def nonnegative(p, g, slots, t, lr):
    """One step whose update is what was there, kept from going below zero, and then descended."""
    return p - lr * np.where(p + g < 0, -p, g), slots


ROWS = [
    block(
        "keep_params_nonnegative",
        funcopt.keep_params_nonnegative,
        reference=nonnegative,
        complex=False,
        bounded=True,
        optax=optax.keep_params_nonnegative,
        optax_differs="optax orders complex parameters, by real parts; here they are refused",
        moves_on_zero_gradient=True,
        keeps_moving=True,
    ),
]
