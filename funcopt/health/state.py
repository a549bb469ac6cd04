"""What a monitor keeps."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Float16, Int
from optax import OptState

from ..math.noise_scale import Noise
from ..transformation import metrics
from ..wrappers.baseline import Baseline
from .events import Events
from .recorder import LAST_STEPS, SCALARS, Run


class MonitorState(NamedTuple):
    """What was seen: tables with a row for each leaf, or for each layer of a stacked one.

    `latest` and `mean` have the columns `funcopt.health.statistics.COLUMNS`. `layout` has the
    version of this layout, the steps between measurements, and for each leaf the axis along which
    layers are stacked, -1 for none. Around a guard the baseline is the guard's.

    Every array costs time in every call of a compiled step, so there are few.
    """

    inner: OptState
    count: Int[Array, ""]  # pyright: ignore[reportIncompatibleMethodOverride]
    layout: Int[Array, " 2+leaves"]
    latest: Float[Array, "rows columns"]
    mean: Float[Array, "rows columns"]
    means: Int[Array, ""]
    above: Float16[Array, "rows edges"]
    run: Run
    last: Float[Array, "last scalars"]
    events: Events
    broken: Int[Array, " rows"]
    baseline: Baseline | tuple[()]
    noise: Noise

    @property
    def version(self) -> Array:
        return self.layout[..., 0]

    @property
    def every(self) -> Array:
        return self.layout[..., 1]

    @property
    def axes(self) -> Array:
        return self.layout[..., 2:]

    def metrics(self) -> dict[str, Array]:
        below = {name.split("/")[-1] for name in metrics(self.inner)}
        if "grad_norm" in below:
            return {"events": self.events.seen}
        last = self.last[(self.count - 1) % LAST_STEPS, SCALARS.index("grad_norm")]
        return {"grad_norm": jnp.where(self.count > 0, last, 0), "events": self.events.seen}
