"""PyTorch's side of `step_time.py`, a process of its own so that torch may live in another
environment.

It reads one JSON request a line from standard input and answers with one JSON line:

    {"do": "load", "shapes": [[64, 128], ...], "algorithm": "adamw", "variant": "fused"} -> {}
    {"do": "run", "steps": 3}                                      -> {"seconds": <for all steps>}
    {"do": "version"}                                              -> {"torch": "2.13.0"}
"""

import json
import sys
import time
from typing import Any

import torch

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
VARIANTS = {
    "single": {"foreach": False, "fused": False},
    "foreach": {"foreach": True, "fused": False},
    "fused": {"foreach": False, "fused": True},
}


def load(shapes: list[list[int]], algorithm: str, variant: str) -> torch.optim.Optimizer:
    """An optimizer over normal parameters and gradients, its state already made by one step."""
    generator = torch.Generator().manual_seed(0)
    params = []
    for shape in shapes:
        param = torch.nn.Parameter(0.02 * torch.randn(shape, generator=generator))
        param.grad = 1e-3 * torch.randn(shape, generator=generator)
        params.append(param)
    optimizer = OPTIMIZERS[algorithm](params, lr=1e-3, **VARIANTS[variant])
    optimizer.step()
    return optimizer


def main() -> None:
    optimizer: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        if request["do"] == "version":
            answer = {"torch": torch.__version__}
        elif request["do"] == "load":
            optimizer = None
            optimizer = load(request["shapes"], request["algorithm"], request["variant"])
        else:
            start = time.perf_counter()
            for _ in range(request["steps"]):
                optimizer.step()
            answer = {"seconds": time.perf_counter() - start}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
