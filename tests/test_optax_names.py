"""How much of what programs take from optax is served by `funcopt.optax`.

What 1,234 files of 124 public repositories evaluate of optax, counted in November 2026: for each
group of names, how many files there were all of whose names were in funcopt or in the groups above
it. The files at the end take names that optax itself has removed, or private ones.
"""

from __future__ import annotations

import operator
from typing import Any

import optax
import optax.contrib
import pytest

import funcopt
import funcopt.optax as ours

FILES = 1234
COVERED: list[tuple[str, float]] = [
    ("adam adamw sgd chain clip_by_global_norm linear_schedule scale join_schedules", 0.662),
    ("add_decayed_weights cosine_decay_schedule global_norm apply_updates trace clip", 0.662),
    ("OptState TransformUpdateFn Updates Params GradientTransformationExtraArgs", 0.782),
    ("MaskedNode ScalarOrSchedule EmptyState GradientTransformation Schedule", 0.782),
    ("scale_by_schedule", 0.814),
    ("incremental_update", 0.844),
    ("inject_hyperparams inject_stateful_hyperparams", 0.866),
    ("multi_transform partition", 0.879),
    ("adafactor", 0.888),
    ("MultiSteps skip_not_finite skip_large_updates", 0.896),
    ("periodic_update", 0.904),
    ("radam scale_by_radam", 0.912),
    ("masked", 0.917),
    ("set_to_zero", 0.924),
    ("safe_increment safe_int32_increment safe_norm safe_root_mean_squares", 0.934),
    (
        "ScaleByAdamState TraceState ScaleByScheduleState InjectHyperparamsState FactoredState",
        0.946,
    ),
    ("FactoredState EmaState MaskedState ScaleByRmsState PartitionState ApplyIfFiniteState", 0.946),
    ("tree_utils tree tree_utils.tree_get tree.get tree.zeros_like tree.cast tree.norm", 0.947),
    ("adabelief zero_nans yogi scale_by_factored_rms named_chain ema lamb lars fromage", 0.973),
    ("apply_if_finite apply_every with_extra_args_support tree_map_params stateless", 0.98),
    ("contrib.schedule_free_eval_params contrib.reduce_on_plateau flatten lookahead", 0.98),
    ("per_example_global_norm_clip scale_by_trust_ratio scale_by_belief normalize", 0.98),
]
"""Names that are taken together, and the share of files that they and those before them cover."""
USED = {  # in so many files, of 1,307
    "adam": 543, "apply_updates": 399, "chain": 280, "clip_by_global_norm": 190, "adamw": 145,
    "sgd": 141, "GradientTransformation": 129, "OptState": 113, "linear_schedule": 104,
    "softmax_cross_entropy_with_integer_labels": 77, "scale": 70, "join_schedules": 59,
    "add_decayed_weights": 58, "scale_by_schedule": 53, "cosine_decay_schedule": 52,
    "global_norm": 48, "incremental_update": 48, "TransformUpdateFn": 46,
    "inject_hyperparams": 43, "Updates": 40, "softmax_cross_entropy": 39, "Params": 31,
    "multi_transform": 28, "tree_utils": 27, "sigmoid_binary_cross_entropy": 26,
    "tree.zeros_like": 24, "GradientTransformationExtraArgs": 22, "MaskedNode": 21,
    "EmptyState": 21, "masked": 18, "adafactor": 18, "set_to_zero": 17, "l2_loss": 16,
    "ScalarOrSchedule": 16, "ScaleByAdamState": 14, "radam": 13, "safe_int32_increment": 12,
    "MultiSteps": 11, "lbfgs": 11, "tree.cast": 10, "tree.update_moment": 10, "tree.get": 10,
    "periodic_update": 10, "tree.bias_correction": 9, "TraceState": 8, "contrib.muon": 7,
    "safe_increment": 7, "ScaleByScheduleState": 7, "tree.norm": 6, "lamb": 6, "adabelief": 6,
    "huber_loss": 6, "ctc_loss": 6, "smooth_labels": 6, "scale_by_factored_rms": 5, "yogi": 5,
    "ema": 5, "contrib.schedule_free_eval_params": 5, "lars": 4, "value_and_grad_from_state": 4,
    "fromage": 3, "zero_nans": 3, "per_example_global_norm_clip": 3, "apply_if_finite": 2,
    "tree_map_params": 2, "contrib.reduce_on_plateau": 2, "named_chain": 2, "apply_every": 2,
}  # fmt: skip
REMOVED = {"additive_weight_decay": 2, "scale_and_decay": 1}


def served(name: str) -> bool:
    """Whether it is there, and no other thing of funcopt's that has the same name."""
    try:
        found: Any = operator.attrgetter(name)(ours)
        theirs: Any = operator.attrgetter(name)(optax)
    except AttributeError:
        return False
    return found is theirs or not isinstance(theirs, type) or issubclass(found, theirs)


def test_of_files_98_of_100_find_all_their_names():
    share = 0.0
    for names, covered in COVERED:
        if not all(map(served, names.split())):
            break
        share = covered
    assert share >= 0.98


def test_of_uses_98_of_100_are_served():
    total = sum(USED.values()) + sum(REMOVED.values())
    assert sum(count for name, count in USED.items() if served(name)) >= 0.98 * total


@pytest.mark.parametrize("name", ["schedules", "GradientTransformation", "monitor", "partition"])
def test_what_means_something_else_in_funcopt_is_optaxs(name):
    assert getattr(ours, name) is not getattr(funcopt, name)


def test_most_algorithms_are_computed_by_funcopt():
    """Of the uses of optimizers, clips and schedules, those that funcopt has a function for."""
    both = {name: n for name, n in USED.items() if hasattr(funcopt, name) and served(name)}
    both = {name: n for name, n in both.items() if not isinstance(getattr(optax, name), type)}
    own = {name: n for name, n in both.items() if getattr(ours, name) is not getattr(optax, name)}
    assert both.keys() - own.keys() <= {"apply_updates"}
