"""Rules: algorithms for one array or for a whole tree, and what an author of them needs.

`funcopt.lift` makes a transformation of rules, `funcopt.optimizer` an optimizer.
"""

import sys
from typing import TYPE_CHECKING

from .core.lazy import lazy as _lazy

if TYPE_CHECKING or not _lazy(__name__):
    from .clips.adaptive_grad_clip import AdaptiveGradClip as AdaptiveGradClip
    from .clips.clip import Clip as Clip
    from .clips.clip_by_block_rms import ClipByBlockRms as ClipByBlockRms
    from .clips.clip_by_norm import ClipByNorm as ClipByNorm
    from .clips.clip_spikes import ClipSpikes as ClipSpikes
    from .core.optimizer import Descend as Descend
    from .core.report import Counted as Counted
    from .core.report import Largest as Largest
    from .core.report import Mean as Mean
    from .core.report import NoReport as NoReport
    from .core.report import Norm as Norm
    from .core.report import Number as Number
    from .core.report import Reported as Reported
    from .core.report import ReportedAs as ReportedAs
    from .core.report import Smallest as Smallest
    from .core.report import Total as Total
    from .core.rule import Accumulator as Accumulator
    from .core.rule import Clock as Clock
    from .core.rule import Divisor as Divisor
    from .core.rule import Exact as Exact
    from .core.rule import NoSlots as NoSlots
    from .core.rule import Rule as Rule
    from .core.rule import Signed as Signed
    from .core.rule import rule as rule
    from .core.tree_rule import AccumulatorColumn as AccumulatorColumn
    from .core.tree_rule import ExactColumn as ExactColumn
    from .core.tree_rule import NoNumbers as NoNumbers
    from .core.tree_rule import SignedColumn as SignedColumn
    from .core.tree_rule import Start as Start
    from .core.tree_rule import Step as Step
    from .core.tree_rule import TreeRule as TreeRule
    from .core.tree_rule import tree_rule as tree_rule
    from .optimizers.adabelief import Adabelief as Adabelief
    from .optimizers.adadelta import Adadelta as Adadelta
    from .optimizers.adagrad import Adagrad as Adagrad
    from .optimizers.adam_atan2 import AdamAtan2 as AdamAtan2
    from .optimizers.eigenbasis import Eigenbasis as Eigenbasis
    from .optimizers.gradient_subspace import GradientSubspace as GradientSubspace
    from .optimizers.in_basis import InBasis as InBasis
    from .optimizers.kl_eigenbasis import KLEigenbasis as KLEigenbasis
    from .optimizers.lion import Lion as Lion
    from .optimizers.matrix_scale import MatrixScale as MatrixScale
    from .optimizers.mean_gradient import MeanGradient as MeanGradient
    from .optimizers.nadam import Nadam as Nadam
    from .optimizers.orthogonalize import Orthogonalize as Orthogonalize
    from .optimizers.relative_step import RelativeStep as RelativeStep
    from .optimizers.scale_by_adam import Adam as Adam
    from .optimizers.scale_by_adamax import Adamax as Adamax
    from .optimizers.scale_by_amsgrad import Amsgrad as Amsgrad
    from .optimizers.scale_by_factored_rms import FactoredRms as FactoredRms
    from .optimizers.scale_by_rms import Rms as Rms
    from .optimizers.scale_by_stddev import CenteredRms as CenteredRms
    from .optimizers.sgd import Momentum as Momentum
    from .optimizers.spam import Spam as Spam
    from .rate_free.cocob import Cocob as Cocob
    from .transforms.add_decayed_weights import Decay as Decay
    from .transforms.centralize import Centralize as Centralize
    from .transforms.scale import Scale as Scale

__all__ = [
    "Accumulator",
    "AccumulatorColumn",
    "Adabelief",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamAtan2",
    "Adamax",
    "AdaptiveGradClip",
    "Amsgrad",
    "CenteredRms",
    "Centralize",
    "Clip",
    "ClipByBlockRms",
    "ClipByNorm",
    "ClipSpikes",
    "Clock",
    "Cocob",
    "Counted",
    "Decay",
    "Descend",
    "Divisor",
    "Eigenbasis",
    "Exact",
    "ExactColumn",
    "FactoredRms",
    "GradientSubspace",
    "InBasis",
    "KLEigenbasis",
    "Largest",
    "Lion",
    "MatrixScale",
    "Mean",
    "MeanGradient",
    "Momentum",
    "Nadam",
    "NoNumbers",
    "NoReport",
    "NoSlots",
    "Norm",
    "Number",
    "Orthogonalize",
    "RelativeStep",
    "Reported",
    "ReportedAs",
    "Rms",
    "Rule",
    "Scale",
    "Signed",
    "SignedColumn",
    "Smallest",
    "Spam",
    "Start",
    "Step",
    "Total",
    "TreeRule",
    "rule",
    "tree_rule",
]


def _missing(name: str) -> type:
    """A rule's class that has no line above: of what is loaded, else of the whole package."""
    found = _unlisted(name)
    if found is None and name[0].isupper():
        for module in ("funcopt", __name__):
            vars(sys.modules[module])  # which loads all
        found = _unlisted(name)
    if found is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found


def _unlisted(name: str) -> type | None:
    from .core.rule import Rule
    from .core.tree_rule import TreeRule

    for found in (*Rule.__subclasses__(), *TreeRule.__subclasses__()):
        ours = found.__module__.startswith(f"{__package__}.") and found.__name__ == name
        if ours and getattr(sys.modules.get(found.__module__), name, None) is found:
            return found
    return None
