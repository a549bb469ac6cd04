"""Shampoo: gradients between inverse roots of the mean squares of their rows and of their columns.

    D = left^−¼ M right^−¼,  u = (‖A‖ / ‖D‖) D      of each block of a matrix

with M the mean gradient, left and right the mean squares of its rows and columns, and A the step of
a simpler method, whose rates then suit: see `rules.BetweenInverseRoots`.

Gupta, Koren & Singer, 2018, Algorithm 1 (https://arxiv.org/abs/1802.09568), where mean squares are
sums; means, blocks and grafting: Anil et al., 2021 (https://arxiv.org/abs/2002.09018) and Shi et
al., 2023 (https://arxiv.org/abs/2309.06497), whose program this follows.
"""

from ..core.arguments import (
    DecayRate,
    Flag,
    Length,
    NonNegative,
    OptionalDecayRate,
    OptionalNonNegative,
    OptionalSteps,
    Rate,
    Steps,
)
from ..core.leaf import LayerAxis, Matrices
from ..core.optimizer import Otherwise
from ..core.paths import Mask
from ..core.transformation import transformation
from ..storage import Storage
from ..transforms.decay_rules import WeightDecay
from .between_inverse_roots import SHAMPOO, BetweenInverseRoots
from .for_hidden import for_hidden
from .graft_step import Graft
from .scale_by_adam import Adam
from .sgd import Momentum


@transformation(paper=SHAMPOO)
def shampoo(
    learning_rate: Rate,
    b1: DecayRate = 0.9,
    b2: OptionalDecayRate = 0.999,
    eps: NonNegative = 1e-6,
    weight_decay: WeightDecay = 0.0,
    mask: Mask = None,
    *,
    relative_eps: Flag = True,
    exponent: NonNegative = 0.25,
    block_size: Length = 1024,
    precondition_frequency: Steps = 10,
    start_preconditioning_step: OptionalSteps = None,
    graft: Graft = "adam",
    graft_b2: DecayRate = 0.999,
    graft_eps: NonNegative = 1e-8,
    momentum: OptionalDecayRate = None,
    nesterov: Flag = False,
    otherwise: Otherwise = None,
    otherwise_rate: OptionalNonNegative = None,
    hidden: Mask = None,
    matrices: Matrices = None,
    layer_axis: LayerAxis = None,
    storage: Storage = None,
):
    """Shampoo: mean gradients between inverse roots of mean squares, AdamW for other parameters.

    Of a matrix [m, n] in one block it remembers 2 (m n + m² + n²) numbers, Adam 2 m n. An inverse
    root that could not be computed is the one before it: `funcopt.metrics` reports `failed_roots`.

    Args:
        learning_rate: at least 0, or a schedule; one that suits the method of `graft`.
        b1: decay of the mean gradient, in [0, 1).
        b2: decay of the mean squares of both sides, in [0, 1); None for their sum, as in the paper.
        eps: added to the eigenvalues of mean squares, at least 0.
        relative_eps: whether `eps` is a part of the largest eigenvalue, so that the unit of
            gradients does not matter. Where that is 0, the root is the identity.
        exponent: mean squares of both sides take part with this power, negative; at least 0. The
            paper's is 1/4, and 1/2 that of the whole matrix's second moment.
        block_size: sides longer than this are cut into blocks that do not see each other, at least
            1; it bounds memory and the time that a root takes.
        precondition_frequency: how many steps a root is kept, at least 1.
        start_preconditioning_step: the step of the first roots, before which steps are those of
            `graft`, or plain gradients with "none"; None for `precondition_frequency`.
        graft: whose length the step of a block has: that of "adam", "rmsprop" (without bias
            correction), "adagrad" (a sum instead of a mean), "sgd", all of the same mean gradient,
            or its own for "none".
        graft_b2: decay of the mean squared gradient of "adam" and "rmsprop", in [0, 1).
        graft_eps: added to its root, at least 0.
        momentum, nesterov: decay of a sum of these steps, in [0, 1), or None; look ahead by one.
        weight_decay, mask, hidden, matrices, layer_axis: as in `muon`.
        otherwise, otherwise_rate: as in `muon`; None for `Adam(b1, graft_b2, graft_eps)` and 1.
        storage: how slots are kept between steps, see `funcopt.storage`.

    Raises:
        ValueError, TypeError: an argument is out of its range or of the wrong type; a pattern is
            found in no path; `update` has no parameters.

    >>> import funcopt, jax.numpy as jnp
    >>> tx = funcopt.shampoo(0.1, b2=None, eps=0.0, graft="none", precondition_frequency=1)
    >>> params = {"kernel": jnp.zeros((2, 2))}
    >>> grads = {"kernel": jnp.array([[3.0, 1.0], [0.0, 0.5]])}
    >>> updates, state = tx.update(grads, tx.init(params), params)
    >>> jnp.linalg.svd(updates["kernel"])[1]  # at first, all singular values are equal
    Array([0.1, 0.1], dtype=float32)
    >>> funcopt.metrics(state)["failed_roots"]
    Array(0., dtype=float32)

    Source: https://arxiv.org/abs/1802.09568; https://arxiv.org/abs/2309.06497, and its program.
    """
    start = start_preconditioning_step
    start = precondition_frequency if start is None else start
    root = (eps, relative_eps, exponent, block_size, precondition_frequency, start)
    return for_hidden(
        BetweenInverseRoots(b1, b2, *root, graft, graft_b2, graft_eps),
        *(() if momentum is None else (Momentum(momentum, nesterov),)),
        rest=Adam(b1, graft_b2, graft_eps),
        learning_rate=learning_rate,
        decay=(weight_decay, mask),
        otherwise=(otherwise, 1.0 if otherwise_rate is None else otherwise_rate),
        where=(hidden, matrices, layer_axis),
        storage=storage,
    )
