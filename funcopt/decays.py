"""Weight decays, for the argument `weight_decay` of optimizers.

A number there is what the optimizer's paper means by it, which is `decoupled` nearly everywhere;
these say it otherwise. λ is the weight decay, η the learning rate, u the optimizer's direction.

>>> import funcopt
>>> from funcopt import decays
>>> funcopt.adamw(1e-3, weight_decay=decays.cautious(0.1), mask="kernel")
adamw(learning_rate=0.001, weight_decay=rules.CautiousDecay(weight_decay=0.1), mask='kernel')
"""

from typing import Literal

from .core.arguments import Hyperparameter, Numeric
from .core.rule import Rule
from .transforms.decay_kinds import (
    CorrectedDecay,
    DecoupledDecay,
    IndependentDecay,
    L2Decay,
    SquaredDecay,
)
from .transforms.step_aware_decays import CautiousDecay, LateDecay, ProximalDecay

__all__ = ["cautious", "corrected", "decoupled", "independent", "l2", "proximal", "squared"]


def l2(weight_decay: Hyperparameter) -> Rule:
    """Add λ x to the gradient, before all that the optimizer does: PyTorch's SGD and Adam.

    Args:
        weight_decay: λ, at least 0, or a schedule.

    >>> l2(0.1)
    rules.L2Decay(weight_decay=0.1)
    """
    return L2Decay(weight_decay)


def decoupled(weight_decay: Hyperparameter, when: Literal["before", "after"] = "before") -> Rule:
    """Multiply parameters by 1 − η λ, before the step (AdamW in PyTorch and optax) or after it.

    Args:
        weight_decay: λ, at least 0, or a schedule.
        when: `"after"`, as in SOAP, shrinks the step too, by η² λ u.

    Raises:
        ValueError: `when` is neither.

    >>> decoupled(0.1, "after")
    rules.LateDecay(weight_decay=0.1)

    Source: https://arxiv.org/abs/1711.05101.
    """
    if when not in ("before", "after"):
        raise ValueError(f"decoupled: when must be one of before, after, got {when!r}.")
    return DecoupledDecay(weight_decay) if when == "before" else LateDecay(weight_decay)


def independent(weight_decay: Hyperparameter) -> Rule:
    """Multiply parameters by 1 − λ at every step, whatever the learning rate is.

    Args:
        weight_decay: λ, at least 0, or a schedule: the paper's is λ times that of the rate,
            relative to its largest.

    >>> independent(1e-4)
    rules.IndependentDecay(weight_decay=0.0001)

    Source: https://arxiv.org/abs/1711.05101, Algorithm 2.
    """
    return IndependentDecay(weight_decay)


def corrected(weight_decay: Hyperparameter, max_learning_rate: Numeric) -> Rule:
    """Decay by λ η² / η_max (AdamC), so that a falling rate does not raise the norm of gradients.

    Args:
        weight_decay: λ, at least 0, or a schedule.
        max_learning_rate: η_max, the largest of the schedule, above 0.

    >>> corrected(0.1, max_learning_rate=1e-3)
    rules.CorrectedDecay(weight_decay=0.1, max_learning_rate=0.001)

    Source: https://arxiv.org/abs/2506.02285.
    """
    return CorrectedDecay(weight_decay, max_learning_rate)


def squared(weight_decay: Hyperparameter) -> Rule:
    """Decay by λ η²: `corrected` without a largest rate, so that λ is tens.

    Args:
        weight_decay: λ, at least 0, or a schedule.

    >>> squared(20.0)
    rules.SquaredDecay(weight_decay=20.0)
    """
    return SquaredDecay(weight_decay)


def cautious(weight_decay: Hyperparameter) -> Rule:
    """Decay those elements only that the step moves towards zero, too: where u x ≥ 0.

    Args:
        weight_decay: λ, at least 0, or a schedule.

    >>> cautious(0.1)
    rules.CautiousDecay(weight_decay=0.1)

    Source: https://arxiv.org/abs/2510.12402, Algorithm 1.
    """
    return CautiousDecay(weight_decay)


def proximal(weight_decay: Hyperparameter) -> Rule:
    """Divide parameters by 1 + η λ after the step, as Adan does.

    Args:
        weight_decay: λ, at least 0, or a schedule; however large, nothing passes zero.

    >>> proximal(0.02)
    rules.ProximalDecay(weight_decay=0.02)

    Source: https://arxiv.org/abs/2208.06677.
    """
    return ProximalDecay(weight_decay)
