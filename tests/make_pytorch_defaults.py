"""Write the defaults of torch.optim's signatures for `funcopt show`; needs torch.

python tests/make_pytorch_defaults.py
"""

import inspect
import json
from pathlib import Path

import torch

OVERVIEW = Path(__file__).parent.parent / "funcopt" / "lab" / "overview"
OUT = OVERVIEW / "data" / "pytorch_defaults.json"
CLASSES = ["SGD", "Adagrad", "RMSprop", "Adadelta", "Adam", "AdamW", "NAdam", "Adamax"]


def defaults(name: str) -> dict:
    parameters = inspect.signature(getattr(torch.optim, name)).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def main() -> None:
    table = {"version": torch.__version__.split("+")[0]}
    table |= {name: defaults(name) for name in CLASSES}
    OUT.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
