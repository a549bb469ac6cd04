"""The NumPy references against the frozen trajectories: two independent sources agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests import reference
from tests.golden import SOURCES, Frozen, load

# Relative to the largest magnitude each element reaches. The float32 runs differ from the float64
# reference by the rounding of the program that was frozen: PyTorch takes its powers of beta in
# double precision, AlgoPerf's program (JAX) in float32, where 1 - 0.999 loses digits.
NEAR = {"float64": 5e-14, "float32": 1.2e-6}
TOLERANCE = {
    ("torch", "float64"): 1e-14,
    ("lion", "float64"): 1e-14,
    ("nadamw", "float32"): 3e-5,
    ("muon", "float64"): 1e-13,
    ("muon", "float32"): 3e-6,
    ("matrix", "float32"): 3e-6,
    ("soap", "float64"): 1e-13,
    ("soap", "float32"): 1e-4,  # the eigenvectors turn with the last digits
    ("splus", "float64"): 1e-12,
    ("splus", "float32"): 5e-4,  # those of the first step, which it keeps for long
    ("matrix_authors", "float32"): 3e-6,
    ("matrix_chains", "float64"): 2e-13,  # Polar Express takes 21 s³ from 8 s
    ("matrix_chains", "float32"): 5e-5,
    ("sophia", "float64"): 1e-11,  # it adds 1e-15 to curvatures
    ("kron", "float64"): 1e-9,  # how far a factor is best turned is known to half of the digits
    ("kron", "float32"): 1e-5,
    ("shampoo", "float64"): 5e-13,
    ("shampoo", "float32"): 2e-4,  # of its small eigenvalues few digits are left
}
# Those of `lr_free` and `clips` are of whole trees, and take a loss; calls are compositions, and
# averages are no points.
CASES = [
    pytest.param(source, case, id=f"{source}-{case.id}")
    for source in SOURCES
    if source not in ("lr_free", "clips")
    for case in load(source)
    if not (case.call or case.evaluated)
]


def from_reference(case: Frozen, leaf: str) -> np.ndarray:
    """The path of one leaf as the reference computes it from the same inputs."""
    hyper = {name: value for name, value in case.kwargs.items() if name != "learning_rate"}
    if case.decoupled_weight_decay:
        hyper["weight_decay"] = case.decoupled_weight_decay
    inputs, told = case.inputs, case.hessian
    if told is not None:
        hyper["hessian_diagonal"] = lambda index: (
            None if index % told["every"] else told["batch"] * inputs.drawn(index, leaf) ** 2
        )
    # What stands before plain descent has a reference that descends.
    name = case.before.split("(")[0] if case.before else case.factory
    path, _ = reference.trajectory(
        getattr(reference, name),
        inputs.p0[leaf],
        inputs.grads[leaf] if inputs.grads else lambda p: inputs.gradient(0, leaf, p),
        lambda index: case.rates[index],
        steps=len(case.rates),
        coupled_weight_decay=case.chain_weight_decay,
        **hyper,
    )
    return np.stack(path)


def deviation(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference of an element, relative to the largest magnitude on its path."""
    scale = np.abs(theirs).max(axis=0)
    assert np.all((scale > 0) | (np.abs(ours).max(axis=0) == 0))
    return float(np.max(np.abs(ours - theirs) / np.where(scale > 0, scale, 1)))


@pytest.mark.parametrize(("source", "case"), CASES)
def test_reference_reproduces_the_frozen_trajectory(source, case):
    tolerance = TOLERANCE.get((source, case.dtype), NEAR[case.dtype])
    for leaf, theirs in case.path.items():
        assert theirs.dtype == case.dtype
        assert len(theirs) >= 25
        assert np.ptp(theirs, axis=0).max() > 0, "nothing moved"
        assert deviation(from_reference(case, leaf), theirs) <= tolerance


@pytest.mark.parametrize("variant", ["dozat", "init2winit"])
def test_frozen_pytorch_nadam_tells_the_variants_apart(variant):
    case = next(case for case in load("torch") if case.id == "nadam-betas-eps-float64")
    other = replace(case, kwargs=case.kwargs | {"variant": variant})
    assert deviation(from_reference(other, "matrix"), case.path["matrix"]) > 1e-3


@pytest.mark.parametrize("variant", ["optax", "paper"])
def test_frozen_pytorch_amsgrad_tells_the_variants_apart(variant):
    case = next(case for case in load("torch") if case.id == "amsgrad-betas-float64")
    other = replace(case, kwargs=case.kwargs | {"variant": variant})
    assert deviation(from_reference(other, "matrix"), case.path["matrix"]) > 1e-3


def test_inputs_have_wide_magnitudes_and_exact_zeros():
    grads = load("torch")[0].inputs.grads
    values = np.abs(np.concatenate([leaf.ravel() for leaf in grads.values()]))
    assert (values == 0).sum() > 20
    assert values[values > 0].min() < 5e-4
    assert values.max() > 20
