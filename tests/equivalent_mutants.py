"""Mutants that compute the same, or what no test should tell apart, each with the reason."""

from __future__ import annotations

REASONS: dict[tuple[str, str, str], str] = {}


def reason(file: str, function: str, what: str) -> str | None:
    """Why a mutant is no mistake; None if it is one."""
    return REASONS.get((file, function, what))
