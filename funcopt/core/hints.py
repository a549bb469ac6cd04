"""What to write instead of an argument that is not there, or is not taken."""

import difflib
from collections.abc import Collection, Iterable
from typing import Any

import jax

# What other libraries call it, the argument that has to be there for this to help, and the help.
ELSEWHERE = {
    "lr": ("learning_rate", "PyTorch's lr is learning_rate"),
    "betas": ("b1", "PyTorch's betas=(a, b) are b1=a, b2=b"),
    "alpha": ("decay", "PyTorch's alpha is decay"),
    "lr_decay": ("learning_rate", "learning_rate may be a schedule, such as inverse_time_decay"),
    "maximize": ("learning_rate", "to go uphill, give the gradients with a minus"),
    "amsgrad": ("learning_rate", "funcopt.amsgrad is an optimizer of its own"),
    "params": ("learning_rate", "parameters go to tx.init(params) and funcopt.step"),
}
COMPILED = ("foreach", "fused", "capturable", "differentiable")


def instead_of(unknown: Iterable[str], expected: Collection[str]) -> str:
    """What to write for arguments that are not among the expected ones; "" if nobody knows.

    >>> instead_of(["lr", "betas"], ["learning_rate", "b1", "b2"])
    " (PyTorch's lr is learning_rate; PyTorch's betas=(a, b) are b1=a, b2=b)"
    >>> instead_of(["weight_decya"], ["weight_decay"])
    ' (did you mean weight_decay?)'
    """
    found = []
    for name in unknown:
        needed, text = ELSEWHERE.get(name, ("", ""))
        near = difflib.get_close_matches(name, expected, n=1, cutoff=0.7)
        if text and needed in expected:
            found.append(text)
        elif name in COMPILED:
            found.append(f"leave {name} out: JAX compiles the whole step")
        elif near:
            found.append(f"did you mean {near[0]}?")
    return f" ({'; '.join(found)})" if found else ""


def instead_of_tree(where: str, x: Any) -> str:
    """Where a tree stands for a rate: that groups have rates of their own; "" elsewhere."""
    if not where.endswith("learning_rate") or jax.tree_util.all_leaves([x]):
        return ""
    return (
        " A rate for each parameter or group is a transformation for each: "
        'funcopt.partition({"pattern": funcopt.adam(1e-3), "": funcopt.adam(1e-4)}).'
    )
