"""Frozen trajectories of PyTorch's and the authors' programs, and how to read them.

>>> case = next(c for c in load("torch") if c.id == "adam-default-float64")
>>> case.factory, case.kwargs["learning_rate"], len(case.rates)
('adam', 0.001, 25)
>>> sorted(case.inputs.p0), case.path["matrix"].shape
(['matrix', 'scalar', 'vector'], (25, 3, 4))
>>> "clips" in SOURCES, "lion" in SOURCES
(True, True)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "gradients": {"scalar": (), "vector": (7,), "matrix": (3, 4)},
    "quadratic": {"block": (2, 3, 2)},
}


@dataclass(frozen=True)
class Inputs:
    """What every program was given: one problem, in one precision.

    Attributes:
        p0: the starting parameters of each leaf.
        grads: the gradients of each leaf, `[steps, *shape]`; None for the quadratic problem.
        diagonal, target: of the quadratic problem; the gradient is `diagonal * (p - target)`.
    """

    p0: Mapping[str, np.ndarray]
    grads: Mapping[str, np.ndarray] | None = None
    diagonal: Mapping[str, np.ndarray] | None = None
    target: Mapping[str, np.ndarray] | None = None

    def gradient(self, index: int, leaf: str, p: Any) -> Any:
        """The gradient of `leaf` at the 0-based step `index` and the parameters `p`."""
        if self.grads is not None:
            return self.grads[leaf][index]
        assert self.diagonal is not None
        assert self.target is not None
        return self.diagonal[leaf] * (p - self.target[leaf])

    def drawn(self, index: int, leaf: str) -> Any:
        """A gradient of other labels at that step, for estimates of a curvature."""
        if self.grads is not None:
            return self.grads[leaf][-1 - index]
        assert self.diagonal is not None
        return self.diagonal[leaf]

    def loss(self, params: Mapping[str, Any]) -> Any:
        """What the quadratic problem's gradient is the slope of."""
        assert self.diagonal is not None
        assert self.target is not None
        gaps = {leaf: p - self.target[leaf] for leaf, p in params.items()}
        return sum((self.diagonal[leaf] * gap**2).sum() for leaf, gap in gaps.items()) / 2


@dataclass(frozen=True)
class Frozen:
    """One frozen trajectory and the call that should reproduce it.

    Attributes:
        name: what was run, for example `"adam-amsgrad"`.
        optimizer: the class or function of the program that was run.
        settings: its arguments.
        dtype: of the parameters, `"float32"` or `"float64"`.
        factory: the name of the funcopt factory.
        kwargs: its arguments; `learning_rate` is a number, or a record with the name of a schedule
            under `"schedule"` and its arguments under `"kwargs"`.
        chain_weight_decay: L2 decay, to be added to the gradient before the optimizer.
        decoupled_weight_decay: decay to be added to the direction before the rate multiplies it,
            for a factory that has no such argument.
        rates: the learning rate of each step.
        inputs: the starting parameters and the gradients.
        path: the parameters of each leaf after every step, `[steps, *shape]`.
        base: of a factory that wraps an optimizer, that optimizer's `factory` and `kwargs`; the
            learning rate is among these.
        before: a call of funcopt that stands before the factory's in a chain.
        call: the whole of it as a call, where it is more than the factory with arguments.
        until: the number of steps in which both mean the same; None for all.
        evaluated: whether `path` holds the parameters to evaluate with.
        hessian: at which steps (`every`) an estimate of the curvature is given, `batch` times the
            square of `Inputs.drawn`; None for an algorithm that takes none.
        recomputed: whether the program finds its way from rounded parameters, as funcopt does not.
    """

    name: str
    optimizer: str
    settings: Mapping[str, Any]
    dtype: str
    factory: str
    kwargs: Mapping[str, Any]
    chain_weight_decay: float
    decoupled_weight_decay: float
    rates: tuple[float, ...]
    inputs: Inputs
    path: Mapping[str, np.ndarray]
    base: Mapping[str, Any] | None = None
    before: str | None = None
    call: str | None = None
    until: int | None = None
    evaluated: bool = False
    recomputed: bool = False
    hessian: Mapping[str, int] | None = None

    @property
    def id(self) -> str:
        return f"{self.name}-{self.dtype}"


def _split(flat: np.ndarray, problem: str) -> dict[str, np.ndarray]:
    leaves, start = {}, 0
    for leaf, shape in SHAPES[problem].items():
        size = int(np.prod(shape))
        leaves[leaf] = flat[..., start : start + size].reshape(flat.shape[:-1] + shape)
        start += size
    return leaves


def inputs(problem: str, dtype: str) -> Inputs:
    """The inputs of `"gradients"` or `"quadratic"`; exact in float32, so the same in both."""
    with np.load(HERE / "inputs.npz") as file:
        stored = {
            key.removeprefix(f"{problem}/"): _split(file[key].astype(dtype), problem)
            for key in file.files
            if key.startswith(f"{problem}/")
        }
    return Inputs(**stored)


def load(source: str) -> list[Frozen]:
    """Every case of one of `SOURCES`."""
    index = json.loads((HERE / f"{source}.json").read_text())
    given = {
        (problem, dtype): inputs(problem, dtype)
        for problem in SHAPES
        for dtype in ("float32", "float64")
    }
    cases = []
    with np.load(HERE / f"{source}.npz") as file:
        for row in index["cases"]:
            call = row["funcopt"]
            rate = call.get("base", call)["kwargs"]["learning_rate"]
            cases.append(
                Frozen(
                    name=row["name"],
                    optimizer=row["optimizer"],
                    settings=row["settings"],
                    dtype=row["dtype"],
                    factory=call["factory"],
                    kwargs=call["kwargs"],
                    chain_weight_decay=call.get("chain_weight_decay", 0.0),
                    decoupled_weight_decay=call.get("decoupled_weight_decay", 0.0),
                    rates=tuple(row.get("rates", [rate] * row["steps"])),
                    inputs=given[row["problem"], row["dtype"]],
                    path=_split(file[row["key"]], row["problem"]),
                    base=call.get("base"),
                    before=call.get("before"),
                    call=call.get("call"),
                    until=call.get("until"),
                    evaluated=bool(call.get("evaluated")),
                    recomputed=bool(call.get("recomputed")),
                    hessian=call.get("hessian"),
                )
            )
    return cases


# A further file of trajectories is found by itself, here and by the tests.
SOURCES = sorted(
    path.stem
    for path in HERE.glob("*.json")
    if path.with_suffix(".npz").exists() and "cases" in json.loads(path.read_text())
)
