"""QK-clip: shrink queries and keys of the heads whose attention logits have grown too large.

    γ_h = min(1, threshold / S_h)            S_h the largest logit of head h before the softmax
    W_q ← γ_h^alpha W_q,  W_k ← γ_h^(1 − alpha) W_k

after each step, so that the logits of head h are γ_h times what they were. Kimi Team, 2025, section
2.1 (https://arxiv.org/abs/2507.20534), where alpha is 1/2. There rotary keys are shared between
heads: they stay, and rotary queries get all of γ_h.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from ..core.arguments import Numeric, Within
from ..core.paths import path_name, path_names, some
from ..math.dtypes import common_dtype
from .head_logits import along_heads, logits_of_heads

Tree = TypeVar("Tree")
ABOVE_ZERO = Within(0, np.inf, "()", schedule=False)
SHARE = Within(0, 1, schedule=False)


def qk_clip(
    params: Tree,
    max_logits: ArrayLike | Mapping[str, ArrayLike],
    threshold: Numeric = 100.0,
    alpha: Numeric = 0.5,
    *,
    query: str | None = r"(^|/)query(/|$)",
    key: str | None = r"(^|/)key(/|$)",
    query_rotary: str | None = None,
    head_axis: int = -2,
) -> Tree:
    """QK-clip: scale down the query and key weights of heads whose logits are above a threshold.

    A function of parameters, to be called after each step: `params = qk_clip(params, logits)`. With
    Muon it is MuonClip. Optimizer states stay as they are.

    Args:
        params: a tree of parameters; those that no pattern is found in stay.
        max_logits: the largest logit of each head before the softmax, over all batches and devices
            of the step, as an array [heads], or [layers, heads] where layers are stacked along the
            first axis of a parameter. A dict from regular expressions to such arrays where there
            are several attentions: the first that is found in the path of a parameter counts.
        threshold: above 0; logits below it are left alone. The paper's is 100.
        alpha: which part of the factor queries take, in [0, 1]; keys take the rest.
        query, key: regular expressions that are searched in the paths of these weights and biases;
            None for none. The defaults are Flax's names.
        query_rotary: the same for queries that meet keys which all heads share, and take all of the
            factor.
        head_axis: the axis of heads in them; where it is longer than there are heads, each has an
            equal part of it: -2 of Flax's [inputs, heads, features], -1 of [inputs, heads *
            features].

    Returns:
        Parameters like `params`, in their dtypes. A head whose logit is at the threshold, below it,
        or not finite, is what it was, bit for bit.

    Raises:
        ValueError: a pattern is found in no path; an axis cannot be divided into so many heads, as
            that of keys that several queries share, for which `alpha=1.0, key=None` is; a number is
            out of its range.
        TypeError: an argument is of the wrong type.

    >>> import funcopt, jax.numpy as jnp
    >>> params = {"query": {"kernel": jnp.ones((1, 2, 1))}, "key": {"kernel": jnp.ones((1, 2, 1))}}
    >>> clipped = funcopt.qk_clip(params, max_logits=jnp.array([50.0, 400.0]))
    >>> clipped["query"]["kernel"].ravel(), clipped["key"]["kernel"].ravel()
    (Array([1. , 0.5], dtype=float32), Array([1. , 0.5], dtype=float32))

    Source: https://arxiv.org/abs/2507.20534, section 2.1.
    """
    threshold = ABOVE_ZERO("qk_clip: threshold", threshold)
    alpha = SHARE("qk_clip: alpha", alpha)
    told = [(query_rotary, 1.0), (query, alpha), (key, 1 - alpha)]
    powers = [(pattern, power) for pattern, power in told if pattern is not None]
    logits = logits_of_heads(max_logits)
    names = path_names(params)
    for pattern in (*(pattern for pattern, _ in powers), *logits):
        if not any(_found(pattern, name) for name in names):
            raise ValueError(
                f"qk_clip: the pattern {pattern!r} is found in no path. The parameters are: "
                f"{some(names, 20)}."
            )

    def clipped(path: tuple, x: Array) -> Array:
        name = path_name(path)
        power = next((power for p, power in powers if _found(p, name)), None)
        largest = next((heads for p, heads in logits.items() if _found(p, name)), None)
        if power is None or largest is None:
            return x
        over = jnp.isfinite(largest) & (largest > threshold)
        factors = jnp.where(over, threshold / jnp.where(over, largest, 1), 1) ** power
        whole = along_heads(name, jnp.shape(x), factors, head_axis)
        wide = jnp.asarray(x).astype(common_dtype(jnp.float32, x))
        return (whole.astype(wide.dtype) * wide).astype(jnp.result_type(x))

    return jax.tree_util.tree_map_with_path(clipped, params)


def _found(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except (re.error, TypeError) as error:
        raise ValueError(f"qk_clip: {pattern!r} is not a regular expression: {error}.") from error
