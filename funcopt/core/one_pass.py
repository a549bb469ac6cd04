"""One pass over memory for a step on the CPU, where XLA may make loops that write several arrays.

A rule makes several arrays of the same ones: each slot, and the update. By itself XLA for the CPU
makes a loop for each of them, which reads again what the others have read: AdamW moves 40 bytes of
memory for a parameter in float32, where one loop would move 28. With the option
`xla_cpu_use_multi_output_fusion` loops that read the same are joined, but not one that reads what
another has written. So each array is computed by an evaluation of its own, from inputs that XLA
does not take for the same until it has optimized them: none reads another, all are joined, and what
is computed several times is computed in registers.

Without the option, the same evaluations are loops that each read everything, and slots are copied
before they are overwritten, which takes several times as long.
"""

import os
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

OPTION = "xla_cpu_use_multi_output_fusion=true"
FLAG = "--xla_backend_extra_options="
OLD_LOOPS = "--xla_cpu_use_fusion_emitters=false"

_enabled = False


def enable_cpu_multi_output_fusion() -> None:
    """Make steps in one pass over memory on the CPU. To be called before JAX computes anything.

    It adds an option of XLA's to the environment variable `XLA_FLAGS`, which JAX reads when its
    backend starts, so that programs of this process, the model's too, may have loops that write
    several arrays. Steps of rules that act on elements (Adam, Lion, momentum, ...) then read and
    write each array once, and a clip by the global norm is multiplied inside of that. Numbers are
    those of a step without it, but for what rounding differs where XLA contracts a product and a
    sum. Other rules, arrays in 16 bits or fewer, and other backends are as they are without it, but
    that XLA may join their loops, too: a step of parameters in bfloat16 is slower for it.
    docs/speed.md says what it saves.

    Raises:
        RuntimeError: JAX has started its backend without the option, or XLA_FLAGS has one that XLA
            does not go on with beside it.

    >>> import funcopt
    >>> funcopt.enable_cpu_multi_output_fusion()  # doctest: +SKIP

    Skipped in this example because the documentation's process has long started JAX. See
    https://github.com/openxla/xla, `xla/service/cpu`.
    """
    global _enabled
    flags = os.environ.get("XLA_FLAGS", "").split()
    if OLD_LOOPS in flags:
        raise RuntimeError(
            f"enable_cpu_multi_output_fusion: XLA_FLAGS has {OLD_LOOPS}, with which XLA ends the "
            "process at some loops that write several arrays. Take it out."
        )
    if OPTION not in " ".join(flags):
        if _backend_runs():
            raise RuntimeError(
                "enable_cpu_multi_output_fusion: JAX has already started its backend, which reads "
                "XLA_FLAGS only then. Call it before the first array is made (right after "
                f"`import funcopt`), or set XLA_FLAGS={FLAG}{OPTION} before Python starts and call "
                "it too."
            )
        given = [flag for flag in flags if flag.startswith(FLAG)]
        rest = [flag for flag in flags if not flag.startswith(FLAG)]
        options = ",".join([*(flag.removeprefix(FLAG) for flag in given), OPTION])
        os.environ["XLA_FLAGS"] = " ".join([*rest, f"{FLAG}{options}"])
    elif _backend_runs() and not _joins_loops():
        raise RuntimeError(
            "enable_cpu_multi_output_fusion: XLA_FLAGS has the option, but JAX started its backend "
            "before that was set. Set it, or call this, before the first array is made."
        )
    _enabled = True


def enabled() -> bool:
    """Whether programs may have loops that write several arrays."""
    return _enabled and jax.default_backend() == "cpu" and _joins_loops()


def each_by_itself(evaluate: Callable[..., Sequence[Any]], *inputs: Any) -> list[Any]:
    """What `evaluate(*inputs)` returns, each part from an evaluation of its own."""
    parts = [*evaluate(*inputs)]
    for i in range(1, len(parts)):
        inputs = jax.tree.map(jax.lax.optimization_barrier, inputs)
        parts[i] = evaluate(*inputs)[i]
    return parts


def _backend_runs() -> bool:
    from jax._src import xla_bridge  # there is no public way to ask

    return xla_bridge.backends_are_initialized()


@cache
def _joins_loops() -> bool:
    """Whether XLA makes one loop of two that read the same array."""

    def both(x: Array) -> tuple[Array, Array]:
        return x * 2, jnp.sin(x)

    with jax.ensure_compile_time_eval():
        x = jax.ShapeDtypeStruct((1024,), jnp.float32)
        program = str(jax.jit(both).lower(x).compile().as_text())
    return re.search(r"= \([^=]*\) fusion\(", program) is not None
