"""Freeze QK-clip: MuonClip of pytorch-optimizer 4.1.0 (Apache-2.0), torch 2.13.0, CPU.

    python -m tests.golden.make_qk_clip        # from the repository root: qk_clip.json

Its optimizer does not move, at a rate of 0; what is frozen is what it makes of weights [heads *
features, inputs] and of biases, with factors in float32.
"""

from __future__ import annotations

import json
import random
from importlib.metadata import version
from pathlib import Path

import torch
from pytorch_optimizer import MuonClip

RANDOM = random.Random(12)
HEADS, FEATURES, INPUTS = 3, 2, 4
LOGITS = [30.0, 100.0, 256.0]
ROLES = ("query", "key", "query_rotary", "key_rotary")


def numbers(rows: int, columns: int) -> list[list[float]]:
    return [[RANDOM.gauss(0, 1) for _ in range(columns)] for _ in range(rows)]


START = {role: numbers(HEADS * FEATURES, INPUTS) for role in ROLES}


def clipped(threshold: float, alpha: float) -> dict[str, list[list[float]]]:
    params = {name: torch.nn.Parameter(torch.tensor(x)) for name, x in START.items()}
    groups = [
        {"params": [p], "use_muon": True, "qk_clip": role, "attention_name": "attention"}
        for role, p in params.items()
    ]
    optimizer = MuonClip(
        groups, lr=0.0, weight_decay=0.0, qk_clip_threshold=threshold, qk_clip_alpha=alpha
    )
    for p in params.values():
        p.grad = torch.ones_like(p)
    optimizer.step(attention_max_logits={"attention": torch.tensor(LOGITS)})
    return {name: p.tolist() for name, p in params.items()}


if __name__ == "__main__":
    made = {name: version(name) for name in ("pytorch-optimizer", "torch")}
    made |= {"start": START, "logits": LOGITS}
    made["cases"] = [
        {"threshold": threshold, "alpha": alpha, "after": clipped(threshold, alpha)}
        for threshold, alpha in ((100.0, 0.5), (20.0, 0.25), (1000.0, 0.5), (64.0, 1.0))
    ]
    Path(__file__).with_name("qk_clip.json").write_text(json.dumps(made) + "\n")
