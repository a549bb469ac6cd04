"""Freeze trajectories of clips and of optimizers that clip, by their authors: Python 3.11, CPU.

The programs are two packages and three files, none of which this repository depends on:

    torch 2.13.0, torch-optimi 0.3.3 (MIT), pytorch_optimizer 4.1.0 (Apache-2.0)
    galore_torch/stablespam.py of github.com/TianjinYellow/StableSPAM
    galore_torch/SPAM.py of github.com/TianjinYellow/SPAM-Optimizer
    zclip/zclip.py of github.com/bluorion-com/ZClip

With them, NumPy and nothing else installed, this writes clips.npz and clips.json, from the
repository root:

    python -m tests.golden.make_clips <stablespam.py> <SPAM.py> <zclip.py>

`before` in a call is what comes before the factory in a chain. Up to the step `until` the program
does what its paper says. Two cases stop there: at a reset Stable-SPAM's program still uses the old
moments, corrected as if they were new, and counts its statistics anew without resetting them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import platform
import sys
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np

from tests.golden.freeze import STEPS, Case, leaves, write

COMMITS = {
    "StableSPAM": "6a66da1",
    "SPAM": "e8185fb",
    "ZClip": "584ce4f",
}


def both(name: str, optimizer: str, settings: dict, factory: str, kwargs: dict, **more) -> Iterator:
    """The case on both problems."""
    call = {"factory": factory, "kwargs": kwargs, **more}
    yield Case(name, optimizer, settings, call)
    yield Case(f"{name}-quadratic", optimizer, settings, call, problem="quadratic")


def cases() -> Iterator[Case]:
    settings = {"lr": 0.01}
    yield from both("stable-adamw", "optimi.StableAdamW", settings, "stable_adamw",
                    {"learning_rate": 0.01})  # fmt: skip
    settings = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3}
    ours = {"learning_rate": 0.1, "b1": 0.8, "b2": 0.95, "eps": 1e-3, "weight_decay": 0.3}
    yield from both("stable-adamw-other", "optimi.StableAdamW", settings, "stable_adamw", ours)
    settings = {**settings, "foreach": False}
    yield from both("stable-adamw-port", "pytorch_optimizer.StableAdamW", settings,
                    "stable_adamw", ours)  # fmt: skip

    yield from both("stable-spam", "StableSPAM", {"lr": 0.01}, "stable_spam",
                    {"learning_rate": 0.01})  # fmt: skip
    settings = {"lr": 0.1, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1, "gamma1": 0.85,
                "gamma2": 0.99999, "gamma3": 0.9, "total_T": 30}  # fmt: skip
    ours = {"learning_rate": 0.1, "b1": 0.8, "b2": 0.95, "eps": 1e-6, "weight_decay": 0.1,
            "gamma1": 0.85, "gamma2": 0.99999, "gamma3": 0.9, "total_steps": 30}  # fmt: skip
    yield from both("stable-spam-other", "StableSPAM", settings, "stable_spam", ours)
    yield from both("stable-spam-reset", "StableSPAM", {"lr": 0.01, "update_proj_gap": 20},
                    "stable_spam", {"learning_rate": 0.01, "reset_interval": 20},
                    until=19)  # fmt: skip

    settings = {"lr": 0.01, "threshold": 3, "DeltaT": 12, "warmup_steps": 4, "grad_accu_steps": 7}
    ours = {"learning_rate": 0.01, "threshold": 3.0, "reset_interval": 12, "warmup": 4, "grace": 7}
    yield from both("spam", "SPAM", settings, "spam", ours)

    settings = {"lr": 0.01, "beta": 0.9, "warmup_steps": 6, "weight_decay": 0.1}
    yield Case("adagc-quadratic", "pytorch_optimizer.AdaGC", settings,
               {"factory": "adamw", "kwargs": {"learning_rate": 0.01, "weight_decay": 0.1},
                "before": "clip_by_ema(decay=0.9, warmup=5)"}, problem="quadratic")  # fmt: skip

    for name, settings, before in (
        ("zclip", {"z_thresh": 1.5, "max_grad_norm": None}, "z=1.5, max_norm=inf"),
        ("zclip-bound", {"z_thresh": 1.5, "max_grad_norm": 20.0, "clip_factor": 0.5},
         "z=1.5, max_norm=20.0, clip_factor=0.5"),
        ("zclip-mean", {"z_thresh": 1.0, "max_grad_norm": None, "clip_option": "mean"},
         "z=1.0, max_norm=inf, clip_option='mean'"),
        ("zclip-percentile", {"z_thresh": 0.5, "max_grad_norm": None, "mode": "percentile",
                              "skip_update_on_spike": True},
         "z=0.5, max_norm=inf, clip_option='percentile', skip_update_on_spike=True"),
    ):  # fmt: skip
        settings = {"alpha": 0.9, "warmup_steps": 5, **settings}
        call = {"factory": "sgd", "kwargs": {"learning_rate": 0.1},
                "before": f"clip_by_zscore(decay=0.9, warmup=5, {before})"}  # fmt: skip
        yield Case(name, "ZClip", settings, call)


def module(name: str, path: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


class Together:
    """ZClip, and the plain gradient descent that it stands before."""

    def __init__(self, zclip: Any, params: list, settings: dict, rate: float):
        import torch

        self.model = torch.nn.ParameterList(params)
        self.clip, self.descent = zclip(**settings), torch.optim.SGD(self.model, lr=rate)

    def step(self) -> None:
        self.clip.step(self.model)
        self.descent.step()


def made(case: Case, params: list, files: dict[str, Any]) -> Any:
    import optimi
    import pytorch_optimizer

    if case.optimizer == "ZClip":
        rate = case.call["kwargs"]["learning_rate"]
        return Together(files["ZClip"].ZClip, params, dict(case.settings), rate)
    if case.optimizer == "SPAM":
        return files["SPAM"].AdamW(params, **case.settings)
    if case.optimizer == "StableSPAM":
        return files["StableSPAM"].StableSPAM(params, **case.settings)
    package, name = case.optimizer.split(".")
    packages = {"optimi": optimi, "pytorch_optimizer": pytorch_optimizer}
    return getattr(packages[package], name)(params, **case.settings)


def run(case: Case, dtype: str, files: dict[str, Any]) -> tuple[dict[str, np.ndarray], list[float]]:
    import torch

    torch.set_default_dtype(getattr(torch, dtype))  # of the scalars that programs make
    given = list(leaves(case, dtype))
    params = [torch.nn.Parameter(torch.tensor(p0)) for _, p0, _ in given]
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = made(case, params, files)
        path: dict[str, list] = {leaf: [] for leaf, _, _ in given}
        for index in range(STEPS):
            for (_, _, gradient), p in zip(given, params, strict=True):
                g = gradient(index, p.detach().numpy())
                p.grad = torch.tensor(np.asarray(g, dtype))
            optimizer.step()
            for (leaf, _, _), p in zip(given, params, strict=True):
                path[leaf].append(p.detach().numpy().copy())
    rate = case.call["kwargs"]["learning_rate"]
    return {leaf: np.stack(values) for leaf, values in path.items()}, [rate] * STEPS


def main() -> None:
    files = {name: module(name, path) for name, path in zip(COMMITS, sys.argv[1:], strict=True)}
    frozen = [
        (case, dtype, *run(case, dtype, files))
        for case in cases()
        for dtype in ("float64", "float32")
    ]
    packages = ("torch", "torch-optimi", "pytorch_optimizer")
    versions = [f"{name} {version(name)}" for name in packages]
    versions += [f"{name} {commit}" for name, commit in COMMITS.items()]
    write("clips", f"Python {platform.python_version()}, {', '.join(versions)}", frozen)


if __name__ == "__main__":
    main()
