"""What jax and XLA make of one jitted, donated optimizer step: counts and bytes, no clock."""

import re
from typing import Any, NamedTuple

import jax


def jitted_step(library: Any, tx: Any):
    """A fresh jitted `(params, state, grads) -> (params, state)`; params and state are donated.

    `library` is the module whose `apply_updates` writes the parameters.
    """

    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return library.apply_updates(params, updates), state

    return jax.jit(step, donate_argnums=(0, 1))


def jitted_loop(library: Any, tx: Any):
    """The same, of many steps: `(params, state, grads, steps) -> (params, state)`."""

    def loop(params, state, grads, steps):
        def step(_, carry):
            updates, state = tx.update(grads, carry[1], carry[0])
            return library.apply_updates(carry[0], updates), state

        return jax.lax.fori_loop(0, steps, step, (params, state))

    return jax.jit(loop, donate_argnums=(0, 1))


class Program(NamedTuple):
    """The size of a compiled step."""

    equations: int
    equations_inlined: int
    fusions: int
    temp_bytes: int


def nested_jaxprs(equation: Any) -> list[Any]:
    """The jaxprs among an equation's parameters, opened."""
    found = []
    for value in equation.params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            inner = getattr(item, "jaxpr", item)
            if hasattr(inner, "eqns"):
                found.append(inner)
    return found


def equations_inlined(jaxpr: Any, seen: dict[int, int] | None = None) -> int:
    """Equations with every nested call replaced by its body, as often as it is called."""
    seen = {} if seen is None else seen
    if id(jaxpr) not in seen:
        seen[id(jaxpr)] = sum(
            sum(equations_inlined(inner, seen) for inner in nested) if nested else 1
            for nested in map(nested_jaxprs, jaxpr.eqns)
        )
    return seen[id(jaxpr)]


def fusions(compiled: Any) -> int:
    """Fusion instructions in the optimised HLO."""
    return len(re.findall(r"^\s*(?:ROOT )?%?\S+ = .*? fusion\(", compiled.as_text(), re.MULTILINE))


def describe(traced: Any, compiled: Any) -> Program:
    """Counts for a `jax.jit(...).trace(...)` and what it compiled to."""
    jaxpr = traced.jaxpr.jaxpr
    return Program(
        equations=len(jaxpr.eqns),
        equations_inlined=equations_inlined(jaxpr),
        fusions=fusions(compiled),
        temp_bytes=compiled.memory_analysis().temp_size_in_bytes,
    )
