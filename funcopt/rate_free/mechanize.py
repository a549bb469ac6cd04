"""Mechanic around any optimizer, whose steps it multiplies by a factor that it learns.

Cutkosky, Defazio & Mehta, 2023 (https://arxiv.org/abs/2306.00144).
"""

from typing import Annotated, get_args

from ..core.arguments import AxisName, Base, Choice, Hyperparameter, Positive
from ..core.chain import chain
from ..core.paper import NEURIPS, Paper
from ..core.transformation import transformation
from ..core.tree_lift import LiftedTree
from ..storage import Storage
from ..transforms.decay_rules import DecayAmong
from .mechanic import Count, Mechanic, VariantName

OwnDecay = Annotated[
    Hyperparameter,
    DecayAmong(
        (),
        "this one pulls on the factor that it learns, not on parameters; give a decay to the base "
        "optimizer",
    ),
]
Variant = Annotated[VariantName, Choice(get_args(VariantName))]


MECHANIC = Paper(
    "Cutkosky, Ashok and Defazio, Aaron and Mehta, Harsh",
    "Mechanic: A Learning Rate Tuner",
    2023,
    "https://arxiv.org/abs/2306.00144",
    booktitle=NEURIPS,
)


@transformation(paper=MECHANIC)
def mechanize(
    base_optimizer: Base,
    weight_decay: OwnDecay = 1e-2,
    eps: Positive = 1e-8,
    s_init: Positive = 1e-6,
    num_betas: Count = 6,
    variant: Variant = "clipped",
    *,
    axis_name: AxisName = None,
    storage: Storage = None,
):
    """Mechanic: learn a scale factor for any optimizer, so that its rate need not be tuned.

    Args:
        base_optimizer: a funcopt or optax optimizer, at rate 1 or a schedule that falls from 1.
            Not one whose steps do not depend on where it is, such as LARS or LAMB.
        weight_decay: λ above: pulls towards 0 by shrinking the factor; it is not AdamW's. It has
            no `mask`, since the one factor is that of all parameters.
        eps: above 0, added to what divides.
        s_init: the first factor, an underestimate, above 0.
        num_betas: how many decay rates 0.9, 0.99, ... are run beside each other, 1 to 7.
        variant: `"clipped"`, the algorithm above, or `"pytorch"`, the authors' PyTorch program.
        axis_name: the axes of `jax.shard_map` over which parameters are sharded by hand, as in
            `global_norm`. None: each device goes by what it holds.
        storage: how this wrapper's slots are kept, see `funcopt.storage`; they are kept in full.
            The base optimizer's have its own `storage`.

    `funcopt.metrics` has the factor as `scale`, beside the base optimizer's `lr`. Slots: starting
    point and the base optimizer's displacement. optax (0.2.8) recomputes the latter from the
    parameters, of which little is left in float32 while the factor is small, and lets rewards go
    below 0, which the paper and the PyTorch program do not.

    `variant="pytorch"` with `s_init=1e-8` gives the numbers of mechanic-pytorch 0.0.1 with
    `store_delta=True`; without, it recomputes the displacement too. Its first factor is about
    1e-6 / eps times `s_init`, not `s_init`, and its pull towards 0 is taken where the base
    optimizer alone would go from x, not at x as in the paper.

    >>> import funcopt, jax.numpy as jnp
    >>> tx, params = funcopt.mechanize(funcopt.sgd(1.0)), {"w": jnp.array([3.0, -4.0])}
    >>> state = tx.init(params)
    >>> for _ in range(200):
    ...     params, state = funcopt.step(tx, params, state, params)  # the gradient of |w|²/2
    >>> bool(jnp.linalg.norm(params["w"]) < 0.5)
    True

    Source: https://arxiv.org/abs/2306.00144, algorithm 1.
    """
    rule = Mechanic(weight_decay, eps, s_init, num_betas, variant, axis_name)
    # A chain knows what to do with a gate, and with extra arguments.
    return LiftedTree(rule, storage, chain(base_optimizer))
