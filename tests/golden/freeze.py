"""The frozen inputs, and the writer of a set of cases; needs only NumPy.

    python -m tests.golden.freeze        # from the repository root: writes inputs.npz

Every number of the inputs is exact in float32, so that runs in both precisions start alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.golden import HERE, SHAPES, inputs

STEPS = 25


@dataclass(frozen=True)
class Case:
    """One setting of a program and the funcopt call that means the same.

    `call` is the index's record: factory, kwargs, and the two kinds of weight decay that are not
    among the factory's own arguments. `schedule` is for the program to interpret.
    """

    name: str
    optimizer: str
    settings: Mapping[str, Any]
    call: Mapping[str, Any]
    problem: str = "gradients"
    schedule: Mapping[str, Any] = field(default_factory=dict)


def make_inputs() -> None:
    """Gradients from 1e-4 to 1e2, some zero, and a diagonal quadratic."""
    rng = np.random.default_rng(20240229)
    size = sum(int(np.prod(shape)) for shape in SHAPES["gradients"].values())
    p0 = rng.normal(size=size)
    p0[3::5] = 0.0
    level = rng.uniform(-3, 1, size=size) + rng.uniform(-1, 1, size=(STEPS, size))
    sign = np.sign(rng.normal(0.5, 1.0, size=(STEPS, size)))
    grads = sign * 10**level
    grads[rng.random((STEPS, size)) < 0.1] = 0.0
    grads[:, 2] = 0.0
    grads[:5, 9] = 0.0
    grads[8:16, 12] = 0.0
    block = int(np.prod(SHAPES["quadratic"]["block"]))
    arrays = {
        "gradients/p0": p0,
        "gradients/grads": grads,
        "quadratic/p0": rng.normal(size=block),
        "quadratic/diagonal": np.geomspace(0.05, 2.0, block),
        "quadratic/target": rng.normal(size=block),
    }
    np.savez_compressed(
        HERE / "inputs.npz", **{key: value.astype(np.float32) for key, value in arrays.items()}
    )


def leaves(case: Case, dtype: str) -> Iterator[tuple[str, np.ndarray, Any]]:
    """Name, starting parameters and gradient function of each leaf."""
    given = inputs(case.problem, dtype)
    for leaf, p0 in given.p0.items():
        yield leaf, p0, lambda index, p, leaf=leaf: given.gradient(index, leaf, p)


def write(source: str, made_with: str, frozen: list[tuple[Case, str, dict, list[float]]]) -> None:
    """Write `source.npz` and `source.json` from (case, dtype, path of each leaf, rates)."""
    arrays, rows = {}, []
    for case, dtype, path, rates in frozen:
        key = f"{case.name}-{dtype}"
        if key in arrays:
            raise ValueError(f"two cases are called {key}")
        flat = [path[leaf].reshape(len(rates), -1) for leaf in SHAPES[case.problem]]
        arrays[key] = np.concatenate(flat, axis=1)
        if arrays[key].dtype != np.dtype(dtype) or not np.isfinite(arrays[key]).all():
            raise ValueError(f"{key}: {arrays[key].dtype}, or not finite")
        row = {
            "name": case.name,
            "optimizer": case.optimizer,
            "settings": dict(case.settings),
            "problem": case.problem,
            "steps": len(rates),
            "dtype": dtype,
            "funcopt": dict(case.call),
            "key": key,
        }
        if case.schedule:
            row |= {"schedule": dict(case.schedule), "rates": rates}
        rows.append(json.dumps(row))
    np.savez_compressed(HERE / f"{source}.npz", **arrays)
    body = ",\n".join(rows)
    (HERE / f"{source}.json").write_text(
        f'{{"made_with": {json.dumps(made_with)},\n"shapes": {json.dumps(SHAPES)},\n'
        f'"cases": [\n{body}\n]}}\n'
    )


if __name__ == "__main__":
    make_inputs()
