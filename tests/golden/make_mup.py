"""Freeze what the authors' package of muP makes of rates and initial values, by parameter.

Python 3.11, mup 1.0.0 (MIT), torch 2.13.0, on the CPU. From the repository root, this writes
mup.json:

    python -m tests.golden.make_mup

The shapes are PyTorch's, [outputs, inputs, ...]. `adam` and `sgd` are the learning rates of
`MuAdam` and `MuSGD` at 1, and `initial` is by what `set_base_shapes` multiplies initial values. Its
`MuReadout` divides outputs by how many times wider the model is.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path


def model(width: int, hidden: int):
    import torch
    from mup import MuReadout

    nn = torch.nn
    return nn.ModuleDict(
        {
            "embed": nn.Embedding(11, width),
            "conv": nn.Conv2d(width, hidden, 3),
            "first": nn.Linear(5, width),
            "norm": nn.LayerNorm(width),
            "mid": nn.Linear(width, hidden),
            "deep": nn.Linear(hidden, width),
            "fixed": nn.Linear(7, 7),
            "out": MuReadout(width, 3),
        }
    )


def main() -> None:
    import mup
    import torch

    base, narrow, wide = model(8, 12), model(16, 36), model(32, 36)
    mup.set_base_shapes(wide, base, delta=narrow, rescale_params=False)
    names = {id(p): name for name, p in wide.named_parameters()}

    def rates(optimizer) -> dict[str, float]:
        groups = optimizer(wide.parameters(), lr=1.0).param_groups
        return {names[id(p)]: group["lr"] for group in groups for p in group["params"]}

    before = {name: p.detach().clone() for name, p in wide.named_parameters()}
    mup.set_base_shapes(wide, base, delta=narrow, rescale_params=True)
    adam, sgd = rates(mup.MuAdam), rates(mup.MuSGD)
    rows = {
        name: {
            "shape": list(p.shape),
            "base": list(base.get_parameter(name).shape),
            "adam": adam[name],
            "sgd": sgd[name],
            "initial": float((p.detach().double() / before[name].double()).median()),
        }
        for name, p in wide.named_parameters()
        if bool((before[name] != 0).any())
    }
    made = {"python": platform.python_version(), "mup": "1.0.0", "torch": torch.__version__}
    text = json.dumps({"made with": made, "parameters": rows}, indent=2)
    Path(__file__).with_name("mup.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
