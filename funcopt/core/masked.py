"""Rules for some of the parameters."""

from typing import Any

from .paths import Mask, checked_mask
from .record import record
from .rule import Rule


@record
class MaskedRule:
    """A rule that works on some parameters only: the others are for what it leaves out, or pass."""

    rule: Rule
    mask: Any

    def __repr__(self) -> str:
        return f"masked({self.mask!r}, {self.rule!r})"


def masked(mask: Mask, rule: Rule) -> Rule | MaskedRule:
    """Apply a rule to some parameters only: to those that `mask` selects.

    Args:
        mask: which parameters, as in `add_decayed_weights`; None for all of them.
        rule: one without slots. For an algorithm that has some, or a whole transformation, see
            `partition` and `optax.masked`.

    >>> import funcopt
    >>> decay = funcopt.masked("kernel$", funcopt.Decay(0.1))
    >>> funcopt.optimizer(funcopt.Momentum(0.9), decay, learning_rate=0.1)
    ... # doctest: +NORMALIZE_WHITESPACE
    optimizer(rules.Momentum(decay=0.9, nesterov=False),
              masked('kernel$', rules.Decay(weight_decay=0.1)), learning_rate=0.1)
    """
    if not isinstance(rule, Rule):
        raise TypeError(
            f"masked takes a rule such as funcopt.rules.Scale(0.1), got {rule!r}. For a "
            "transformation on some parameters only, use funcopt.partition({pattern: "
            "transformation}) or optax.masked(transformation, mask)."
        )
    if mask is None:
        return rule
    if rule.slots._fields and rule.left_out() is None:  # type: ignore[attr-defined]
        raise ValueError(f"{type(rule).__name__} has slots; only a rule without can be masked.")
    return MaskedRule(rule, checked_mask("masked: mask", mask))
