"""Mutants that compute the same, or what no test should tell apart, each with the reason."""

from __future__ import annotations

REASONS: dict[tuple[str, str, str], str] = {
    (
        "funcopt/averaging/primal.py",
        "averaged",
        "axpy(1, u, slots.z)  →  axpy(1, slots.z, u)",
    ): "1 · u + z is z + u",
}


def reason(file: str, function: str, what: str) -> str | None:
    """Why a mutant is no mistake; None if it is one."""
    return REASONS.get((file, function, what))
