"""Averages of the parameters, kept beside any optimizer.

    x̄ ← x̄ + w_n (x_n − x̄)      w_n as in `running_average`; the latest points alone as in `latest`

Polyak & Juditsky, 1992 (https://doi.org/10.1137/0330046), for the mean; Izmailov et al., 2018
(https://arxiv.org/abs/1803.05407), for the mean of the end of training, from `start` on.
"""

from ..core.arguments import Base, Flag, Offset, OptionalDecayRate, Steps
from ..core.paper import Paper
from ..core.transformation import gated, transformation
from ..core.tree_lift import LiftedTree
from ..storage import Storage
from .kinds import Gamma, Kind, Window, check_kind
from .latest import Latest
from .running_average import Average

AVERAGE = Paper(
    "Polyak, Boris T. and Juditsky, Anatoli B.",
    "Acceleration of Stochastic Approximation by Averaging",
    1992,
    "https://doi.org/10.1137/0330046",
    journal="SIAM Journal on Control and Optimization",
)


@transformation(paper=AVERAGE)
def average(
    inner: Base,
    decay: OptionalDecayRate = None,
    *,
    kind: Kind = "ema",
    gamma: Gamma = None,
    window: Window = None,
    start: Offset = 0,
    every: Steps = 1,
    debias: Flag = False,
    warmup: Flag = False,
    storage: Storage = None,
):
    """Keep an average of the parameters beside an optimizer: EMA, mean (SWA), or latest (LAWA).

    The training is what it is without; evaluate at `funcopt.eval_params(tx, state, params)`.

    Args:
        inner: the optimizer whose parameters are averaged, funcopt's or optax's.
        decay: of an exponential moving average, in [0, 1), or a schedule; 0.999 (None) to 0.9999
            is usual.
        kind: `"ema"`, exponential; `"uniform"`, the mean of all points, which is PyTorch's SWA;
            `"polynomial"`, whose n-th point enters with (gamma + 1) / (gamma + n); `"window"`, the
            mean of the latest points; or the weights of the latest points, the oldest first, such
            as `(1, 2, 3)`.
        gamma: of a polynomial-decay average, at least 0; 8 if None, with which the last tenth of
            the points counts most. With 0 all count alike.
        window: how many points a window has, at least 1; 5 if None.
        start: so many updates pass before the average begins, at least 0; until then it is the
            parameters themselves. A uniform average is that of the rest. With `start=1` the
            exponential one begins with the point after the first update, as that of PyTorch's
            `AveragedModel` does; with 0 it begins with the starting point.
        every: after how many updates a point enters, at least 1.
        debias: leave what the exponential average began with out of it, as `optax.ema` does.
        warmup: let the decay be at most (1 + n) / (10 + n), so that early points are forgotten.
        storage: how the average is kept, see `funcopt.storage`; it is kept in full.

    Raises:
        ValueError: an argument is of another kind of average, or out of its range; weights are not
            numbers of which the last is above 0.

    The n-th point is what the parameters are after the update `start + n * every`, which is where
    PyTorch and optax take theirs. It enters the slot when the next update begins, and
    `eval_params` takes in the parameters that it is given, so that nothing is missing at any step.
    Put this within `guard`, `rollback` and `accumulate`, which tell it what steps count: a step
    that is skipped adds no point. Slot: the average, or as many points as there are weights, in
    float32 for half-precision parameters, in which its small steps would be rounded away.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.average(funcopt.sgd(1.0), decay=0.5), jnp.array([8.0])
    >>> state = tx.init(params)
    >>> for grad in (4.0, 2.0):
    ...     params, state = funcopt.step(tx, jnp.array([grad]), state, params)
    >>> params, funcopt.eval_params(tx, state, params)  # 8 / 4 + 4 / 4 + 2 / 2
    (Array([2.], dtype=float32), Array([4.], dtype=float32))

    Source: https://arxiv.org/abs/1803.05407 (uniform), https://arxiv.org/abs/1212.1824
    (polynomial), https://arxiv.org/abs/2209.14981 (window), https://arxiv.org/abs/2507.17634
    (weights).
    """
    check_kind(kind, ema=(decay, debias, warmup), polynomial=(gamma,), window=(window,))
    if kind == "window" or not isinstance(kind, str):
        weights = (1.0,) * int(window or 5) if isinstance(kind, str) else tuple(kind)
        return LiftedTree(Latest(weights, start, every), storage, gated(inner))
    if kind == "uniform":
        gamma = 0.0
    elif kind == "polynomial":
        gamma = 8.0 if gamma is None else gamma
    else:
        decay = 0.999 if decay is None else decay
    rule = Average(decay, gamma, start, every, debias, warmup)
    return LiftedTree(rule, storage, gated(inner))
