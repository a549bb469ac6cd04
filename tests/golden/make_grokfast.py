"""Freeze Grokfast-EMA before SGD: pytorch-optimizer 4.1.0 (Apache-2.0), torch 2.13.0, CPU, float64.

python -m tests.golden.make_grokfast    # from the repository root: grokfast.npz, grokfast.json
"""

from __future__ import annotations

import platform
from importlib.metadata import version

from tests.golden.freeze import STEPS, Case, leaves, write


def case(name: str, settings: dict, **more) -> Case:
    filtered = ", ".join(f"{key}={x}" for key, x in settings.items() if key != "lr")
    record = {"factory": "grokfast", "kwargs": {"learning_rate": settings["lr"]}}
    call = f"chain(grokfast({filtered}), sgd({settings['lr']}, momentum=0.9))"
    return Case(name, "gradfilter_ema", settings, {**record, "call": call}, **more)


def cases():
    yield case("grokfast-default", {"lr": 1e-3})
    yield case("grokfast-other", {"lr": 1e-3, "alpha": 0.8, "lamb": 0.5})
    yield case("grokfast-quadratic", {"lr": 0.01, "alpha": 0.9, "lamb": 5.0}, problem="quadratic")


def run(frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np
    import torch
    from pytorch_optimizer.optimizer.grokfast import gradfilter_ema

    given, model = list(leaves(frozen_case, dtype)), torch.nn.Module()
    for leaf, p0, _ in given:
        model.register_parameter(leaf, torch.nn.Parameter(torch.from_numpy(np.array(p0))))
    settings = dict(frozen_case.settings)
    optimizer = torch.optim.SGD(model.parameters(), lr=settings.pop("lr"), momentum=0.9)
    path, means = {leaf: [] for leaf, _, _ in given}, None
    for index in range(STEPS):
        for leaf, _, gradient in given:
            p = model.get_parameter(leaf)
            g = np.asarray(gradient(index, p.detach().numpy()), dtype=dtype)
            p.grad = torch.from_numpy(g.copy())
        means = gradfilter_ema(model, means, **settings)
        optimizer.step()
        for leaf, _, _ in given:
            path[leaf].append(model.get_parameter(leaf).detach().numpy().copy())
    rates = [frozen_case.settings["lr"]] * STEPS
    return {leaf: np.stack(values) for leaf, values in path.items()}, rates


def main() -> None:
    frozen = [(each, "float64", *run(each, "float64")) for each in cases()]
    programs = ", ".join(f"{name} {version(name)}" for name in ("pytorch-optimizer", "torch"))
    write("grokfast", f"{programs}, Python {platform.python_version()}", frozen)


if __name__ == "__main__":
    main()
