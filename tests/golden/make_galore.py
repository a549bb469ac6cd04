"""Freeze trajectories of GaLore by its authors: Python 3.11, torch 2.13.0, on the CPU.

The program is galore-torch 1.0 (https://github.com/jiaweizzhao/GaLore, Apache 2.0), which has to be
installed; of it `GaLoreAdamW` is run, without the modules for 8 bits and for tensors, which ask for
more packages. From the repository root, this writes galore.npz and galore.json:

    python -m tests.golden.make_galore

It finds singular vectors in float32: here they are found in the type of the parameters. They are
unique but for their signs, which here make their largest element positive: the moments are kept
when they are renewed. Its eps is added before the bias is corrected, and is next to none here. Its
matrices are [outputs, inputs], so that it is given those of the frozen inputs transposed.
"""

from __future__ import annotations

import importlib
import importlib.util
import platform
import sys
from types import ModuleType

from tests.golden.freeze import STEPS, Case, leaves, write


def cases():
    for name, rate, rank, gap, scale, decay, betas in (
        ("galore", 0.02, 2, 200, 0.25, 0.0, (0.9, 0.999)),
        ("galore-often", 0.05, 1, 4, 1.0, 0.1, (0.8, 0.9)),
    ):
        group = {"rank": rank, "update_proj_gap": gap, "scale": scale, "proj_type": "std"}
        settings = {"lr": rate, "betas": betas, "eps": 1e-30, "weight_decay": decay, **group}
        call = (
            f"galore({rate}, {rank}, {gap}, {scale}, rules.Adam(*{betas}, 1e-30), "
            f'decays.decoupled({decay}, "after"))'
        )
        record = {"factory": "galore", "kwargs": {"learning_rate": rate}, "call": call}
        yield Case(name, "GaLoreAdamW", settings, record)


GROUP = ("rank", "update_proj_gap", "scale", "proj_type")


def run(program, frozen_case: Case, dtype: str):
    """The path of each leaf and the rates, in `dtype`."""
    import numpy as np
    import torch

    given = list(leaves(frozen_case, dtype))
    params = [torch.nn.Parameter(torch.from_numpy(np.array(p0.T))) for _, p0, _ in given]
    told = frozen_case.settings
    groups = [
        {"params": [p for p in params if p.ndim == 2], **{key: told[key] for key in GROUP}},
        {"params": [p for p in params if p.ndim != 2]},
    ]
    settings = {key: x for key, x in told.items() if key not in GROUP}
    stepper = program(groups, **settings, no_deprecation_warning=True)
    path = {leaf: [] for leaf, _, _ in given}
    for index in range(STEPS):
        for (_, _, gradient), p in zip(given, params, strict=True):
            g = np.asarray(gradient(index, p.detach().numpy().T), dtype=dtype)
            p.grad = torch.from_numpy(np.array(g.T))
        stepper.step()
        for (leaf, _, _), p in zip(given, params, strict=True):
            path[leaf].append(p.detach().numpy().T.copy())
    rates = [told["lr"]] * STEPS
    return {leaf: np.stack(values) for leaf, values in path.items()}, rates


def program():
    """`GaLoreAdamW` alone."""
    package = ModuleType("galore_torch")
    spec = importlib.util.find_spec("galore_torch")
    assert spec is not None
    package.__path__ = list(spec.submodule_search_locations or [])
    for name in ("transformers", "transformers.utils", "transformers.utils.versions"):
        sys.modules[name] = ModuleType(name)
    sys.modules["transformers.utils.versions"].require_version = lambda _: None
    tensors = ModuleType("galore_torch.galore_projector_tensor")
    tensors.GaLoreProjectorTensor = None
    sys.modules |= {"galore_torch": package, tensors.__name__: tensors}
    return importlib.import_module("galore_torch.adamw").AdamW


def main() -> None:
    from importlib.metadata import version

    import torch

    svd = torch.linalg.svd

    def upright(x, **kwargs):
        left, values, right = svd(x, **kwargs)
        used = right if x.shape[0] >= x.shape[1] else left.T
        signs = torch.sign(torch.gather(used, 1, used.abs().argmax(1, keepdim=True)))
        return left * signs.T, values, right * signs

    torch.linalg.svd = upright
    torch.Tensor.float = lambda x: x
    theirs = program()
    frozen = [
        (frozen_case, dtype, *run(theirs, frozen_case, dtype))
        for frozen_case in cases()
        for dtype in ("float64", "float32")
    ]
    made_with = (
        f"galore-torch {version('galore-torch')}, Python {platform.python_version()}, "
        f"torch {torch.__version__}"
    )
    write("galore", made_with, frozen)


if __name__ == "__main__":
    main()
