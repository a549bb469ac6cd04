"""Pictures of optimizers: what each keeps, and how one answers a gradient that turns."""

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes

from ..drawing.figures import COLOURS
from ..training.candidates import optimizers

if TYPE_CHECKING:
    from .catalogue import Catalogue


def state_sizes(ax: Axes, catalogue: "Catalogue") -> None:
    """Bytes of optimizer state for each float32 parameter, one bar for each optimizer."""
    found = [entry for entry in catalogue.entries if entry.state_bytes is not None]
    found.sort(key=lambda entry: (-(entry.state_bytes or 0), entry.name), reverse=True)
    sizes = [entry.state_bytes or 0.0 for entry in found]
    ax.barh([entry.name for entry in found], sizes, color=COLOURS[0], height=0.62)
    for place, size in enumerate(sizes):
        ax.annotate(f" {size:g}", (size, place), va="center", fontsize=8.5, color="0.25")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel("bytes of state for each float32 parameter")
    ax.set_title("What each optimizer remembers")


def response(ax: Axes, name: str) -> None:
    """The step an optimizer takes, in learning rates, when the gradient turns from 1 to -1."""
    rate, half = 1e-3, 60
    tx = optimizers()[name](rate)
    grads = jnp.concatenate([jnp.ones(half), -jnp.ones(half)])

    def one(carry, grad):
        param, state = carry
        update, state = tx.update(grad, state, param, value=1.0)  # some need a loss
        return (param + update, state), -update / rate

    start = jnp.zeros(())
    steps = np.asarray(jax.lax.scan(one, (start, tx.init(start)), grads)[1])
    at = np.arange(1, 2 * half + 1)
    ax.step(at, np.asarray(grads), color="0.7", linewidth=1.2, label="gradient", where="mid")
    ax.plot(at, steps, color=COLOURS[0], linewidth=1.8, label=f"{name}: step / learning rate")
    ax.axhline(0, color="0.85", linewidth=0.8, zorder=0)
    ax.set_xlabel("update")
    turned = np.flatnonzero(steps[half:] < 0)
    after = f"{turned[0] + 1} updates later" if turned.size else f"not within {half} updates"
    ax.set_title(f"The gradient turns round: {name} follows {after}")
    ax.legend(loc="lower left")
