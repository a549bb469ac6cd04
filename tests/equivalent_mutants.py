"""Mutants that compute the same, or what no test should tell apart, each with the reason."""

from __future__ import annotations

PLACED = "an L2 decay comes before all other rules, wherever it stands"
BY_HAND = "a name of axes means something in shard_map only"
NORM = "of a difference only the norm is taken"
REASONS: dict[tuple[str, str], tuple[tuple[str, str], ...]] = {
    ("funcopt/averaging/primal.py", "averaged"): (
        ("axpy(1, u, slots.z)  →", "a factor of 1 is one of both"),
    ),
    ("funcopt/optimizers/adadelta.py", "adadelta"): (("optimizer(masked(", PLACED),),
    ("funcopt/rate_free/dowg.py", "Dowg.update"): (("minus(x, slots.init_params)  →", NORM),),
    ("funcopt/rate_free/dog_step.py", "Dog.update"): (("minus(x, slots.init_params)  →", NORM),),
    ("funcopt/optimizers/between_inverse_roots.py", "BetweenInverseRoots.update"): (
        ("slots.failures  →", "where it stands for the second time, its dtype alone is asked for"),
    ),
    ("funcopt/optimizers/calmed_gradient.py", "calmed"): (
        ("slots.nu  →", "only its dtype is asked for, and a count as wide as it"),
        ("jnp.maximum(entered, 1)  →", "what it divides is left out until a gradient was finite"),
    ),
    ("funcopt/optimizers/came_direction.py", "mean_gradient_squares"): (
        ("FactoredSlots(", "R C / mean(R), and the means of R and of C are of the same squares"),
    ),
    ("funcopt/optimizers/kl_eigenbasis.py", "KLEigenbasis.back"): (
        ("abs_sq(jnp.ones_like(x))  →", "the root of a positive number, real or complex, is one"),
    ),
    ("funcopt/optimizers/lars.py", "lars"): (
        ("Both(trust_ratio_mask, mask)  →", "what is in two masks is in them in any order"),
    ),
    ("funcopt/optimizers/factored_slots.py", "mean_along"): (
        ("axis == 0", BY_HAND),
        ("mean_across(mean, axis_name) if axis == 0", BY_HAND),
    ),
    ("funcopt/optimizers/factored_slots.py", "zero_means"): (
        ("axes[0] == 0", BY_HAND),
        ("axis_name if axes[0] == 0", BY_HAND),
        ("jnp.mean(v, axis, keepdims=True)  →  jnp.sum", "of zeros both are zero"),
    ),
    ("funcopt/optimizers/scion.py", "scion"): (
        ("optimizer(MeanGradient(b1), orthogonalize(", "both rules multiply by a number"),
    ),
    ("funcopt/optimizers/whitening.py", "Whiten.update"): (
        ("slots.left_bound  →", "only its dtype is asked for, real or complex of a real number"),
    ),
    ("funcopt/optimizers/whitening.py", "Whiten.fitted"): (
        ("jnp.abs(right)  →", "the largest element of a positive matrix is on its diagonal"),
    ),
    ("funcopt/rate_free/estimate.py", "grown"): (("1e+18", "no growth is as large"),),
}
"""By file and function: how the mutant's description begins, and why it is no mistake."""


def reason(file: str, function: str, what: str) -> str | None:
    """Why a mutant is no mistake; None if it is one."""
    for beginning, why in REASONS.get((file, function), ()):
        if what.startswith(beginning):
            return why
    return None
