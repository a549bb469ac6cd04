"""Clips of gradients, and what else is done to them before an optimizer, from their papers.

    by norm                 g min(1, c/‖g‖)                            arXiv:1211.5063, algorithm 1
    by block RMS            g / max(1, RMS(g)/d)                       arXiv:1804.04235, section 6
    AGC, per unit i         G_i min(1, λ max(‖W_i‖, ε)/‖G_i‖)          arXiv:2102.06171, eq. 3
    ZClip                   z = (n − μ)/σ; n* = μ + z_thr² σ/z         arXiv:2504.02507
    AdaGC, per leaf         g min(1, λ_rel γ/‖g‖); γ ← β γ + (1−β)‖ĝ‖  arXiv:2502.11034, algorithm 1
    AutoClip                g min(1, percentile_p(norms)/‖g‖)          arXiv:2007.14469, algorithm 1
    SPAM's clip             sign(g) √(θ v) where g²/v > θ              arXiv:2501.06842, section 3
    centralisation          g − mean(g) over a neuron's weights        arXiv:2004.01461, eq. 1

Each is followed by a descent. The state is what the papers keep: lists of norms where they keep
norms. Where they do not say what a zero means, zeros are left out.
"""

from __future__ import annotations

import numpy as np
import optax

import funcopt
from tests.row import block


def _shortened(p, g, lr, ratio):
    return p - lr * ratio * g


def _within(n, bound):
    return 1.0 if n <= bound else bound / n


def clip_by_norm(p, g, slots, t, lr, max_norm):
    """The Euclidean norm of one array is at most `max_norm`."""
    return _shortened(p, g, lr, _within(np.linalg.norm(np.ravel(g)), max_norm)), slots


def clip_by_block_rms(p, g, slots, t, lr, threshold=1.0):
    """Adafactor's update clipping."""
    rms = np.sqrt(np.mean(np.abs(g) ** 2))
    return p - lr * g / max(1.0, rms / threshold), slots


def adaptive_grad_clip(p, g, slots, t, lr, clipping, eps=1e-3):
    """AGC; the last axis counts the units, and a vector is one unit."""
    if np.ndim(g) <= 1:
        weights, grads = p.reshape(-1, 1), g.reshape(-1, 1)
    else:
        weights, grads = p.reshape(-1, p.shape[-1]), g.reshape(-1, g.shape[-1])
    out = np.empty_like(grads)
    for i in range(grads.shape[1]):
        bound = clipping * max(np.linalg.norm(weights[:, i]), eps)
        n = np.linalg.norm(grads[:, i])
        out[:, i] = grads[:, i] * (bound / n if n > bound else 1.0)
    return p - lr * out.reshape(g.shape), slots


def centralize(p, g, slots, t, lr):
    """Every unit's gradient has mean zero."""
    if np.ndim(g) <= 1:
        return p - lr * g, slots
    flat = g.reshape(-1, g.shape[-1])
    return p - lr * (flat - flat.mean(axis=0)).reshape(g.shape), slots


def normalize_by_update_norm(p, g, slots, t, lr, scale_factor=1.0, eps=1e-6):
    """Every step has the same length."""
    return p - lr * scale_factor * g / (np.linalg.norm(np.ravel(g)) + eps), slots


def clip_by_zscore(
    p,
    g,
    slots,
    t,
    lr,
    z=2.5,
    decay=0.97,
    warmup=25,
    max_norm=1.0,
    *,
    eps=1e-6,
    clip_factor=1.0,
    clip_option="adaptive_scaling",
    skip_update_on_spike=False,
):
    """ZClip, with its buffer of the first `warmup` norms."""
    n = np.linalg.norm(np.ravel(g))
    if n == 0:
        return p, slots
    buffer = [*slots.get("buffer", []), n]
    if "mean" not in slots:
        slots = {"buffer": buffer}
        if len(buffer) >= warmup:
            slots |= {"mean": np.mean(buffer), "var": np.var(buffer)}
        return _shortened(p, g, lr, _within(n, max_norm)), slots
    mean, var = slots["mean"], slots["var"]
    deviation = np.sqrt(var)
    score = (n - mean) / (deviation + eps)
    spike, let = score > z, n
    if clip_option == "percentile":
        spike = n > mean + z * deviation
        let = mean + z * deviation if spike else n
    elif spike and clip_option == "mean":
        let = mean
    elif spike:
        let = clip_factor * (mean + z * deviation / (score / z))
    if not (spike and skip_update_on_spike):
        mean = decay * mean + (1 - decay) * let
        var = decay * var + (1 - decay) * (let - mean) ** 2
    slots = {"buffer": buffer, "mean": mean, "var": var}
    return _shortened(p, g, lr, _within(n, min(let, max_norm))), slots


def clip_by_ema(p, g, slots, t, lr, factor=1.05, decay=0.98, warmup=100, max_norm=1.0):
    """AdaGC on one leaf, whose norm then is the global one."""
    n = np.linalg.norm(np.ravel(g))
    gamma = slots.get("gamma") or None
    ratio = _within(n, max_norm if t <= warmup or gamma is None else factor * gamma)
    short = ratio * n
    if short > 0:
        if gamma is None:
            gamma = short
        elif t <= warmup:
            gamma = min(gamma, short)
        else:
            gamma = decay * gamma + (1 - decay) * short
    return _shortened(p, g, lr, ratio), {"gamma": np.float64(gamma or 0.0)}


def clip_by_percentile(p, g, slots, t, lr, q=10.0):
    """AutoClip with norms known by their bin: each is the mean of its bin.

    Bins have equal ratios, 64 in two decades, from the first norm up and down.
    """
    n = np.linalg.norm(np.ravel(g))
    norms = [*slots.get("norms", []), *([n] if n > 0 else [])]
    if not norms:
        return p - lr * g, {"norms": norms}
    logs = np.log(norms)
    bins = np.floor((logs - logs[0]) / (np.log(100.0) / 64))
    binned = [np.mean(np.array(norms)[bins == each]) for each in bins]
    return _shortened(p, g, lr, _within(n, np.percentile(binned, q))), {"norms": norms}


def clip_spikes(p, g, slots, t, lr, threshold=5000.0, decay=0.999, *, grace=20):
    """SPAM's clip alone; slot `nu`."""
    nu = slots.get("nu", np.zeros(np.shape(p)))
    spike = (t > grace) & (nu > 0) & (np.abs(g) ** 2 > threshold * nu)
    size = np.where(spike, np.abs(g), 1)
    g = np.where(spike, g / size * np.sqrt(threshold * nu), g)
    return p - lr * g, {"nu": decay * nu + (1 - decay) * np.abs(g) ** 2}


def clipped(p, g, slots, t, lr, max_delta):
    parts = (np.clip(x, -max_delta, max_delta) for x in (g.real, g.imag))
    real, imaginary = parts
    return p - lr * (real + 1j * imaginary if np.iscomplexobj(g) else real), slots


def normed(p, g, slots, t, lr, max_norm):
    norm = np.sqrt(np.sum(np.abs(g) ** 2))
    return p - lr * g * (1 if norm <= max_norm else max_norm / norm), slots


ROWS = [
    block(
        "clip",
        funcopt.clip,
        {"max_delta": 0.5},
        reference=clipped,
        scheduled={"max_delta": (0.5, 2.0)},
        optax_differs="for complex updates, which optax does not clip by parts",
    ),
    block(
        "clip_by_global_norm",
        funcopt.clip_by_global_norm,
        {"max_norm": 1.0},
        reference=normed,
        scheduled={"max_norm": (0.5, 2.0)},
        float32=1e-6,  # a sum of squares and a root more than elsewhere
    ),
    block(
        "clip_by_norm",
        funcopt.clip_by_norm,
        {"max_norm": 1.0},
        reference=clip_by_norm,
        acts_on="array",
        scheduled={"max_norm": (0.5, 2.0)},
        optax_differs="optax has no clip by the norm of each leaf",
        float32=1e-6,
    ),
    block(
        "clip_by_block_rms",
        funcopt.clip_by_block_rms,
        {"threshold": 0.5},
        reference=clip_by_block_rms,
        acts_on="array",
        scheduled={"threshold": (0.5, 2.0)},
        float32=1e-6,
    ),
    block(
        "clip_update_rms",
        funcopt.clip_update_rms,
        reference=clip_by_block_rms,
        acts_on="array",
        scheduled={"threshold": (0.5, 2.0)},
        optax=optax.clip_by_block_rms,
        optax_kwargs={"threshold": 1.0},
        float32=1e-6,
    ),
    block(
        "adaptive_grad_clip",
        funcopt.adaptive_grad_clip,
        {"clipping": 0.1},
        unfelt=("eps",),
        reference=adaptive_grad_clip,
        acts_on="array",
        needs_params=True,
        scheduled={"clipping": (0.1, 1.0), "eps": (1e-3, 1e-1)},
        optax_differs="for arrays of three axes, where optax sums over the first only",
        float32=1e-6,
    ),
    block(
        "clip_by_zscore",
        funcopt.clip_by_zscore,
        {"z": 1.0, "warmup": 5, "max_norm": 30.0, "decay": 0.9},
        unfelt=("max_norm",),
        reference=clip_by_zscore,
        scheduled={"decay": (0.9, 0.8), "max_norm": (30.0, 10.0)},
        optax_differs="optax has no such clip",
        float32=2e-6,
    ),
    block(
        "clip_by_ema",
        funcopt.clip_by_ema,
        {"warmup": 7, "max_norm": 1e9},  # no global clip: the reference knows one leaf
        unfelt=("max_norm",),
        reference=clip_by_ema,
        acts_on="array",
        scheduled={"factor": (1.05, 2.0), "decay": (0.98, 0.8)},
        optax_differs="optax has no such clip",
        float32=2e-6,
    ),
    block(
        "clip_by_percentile",
        funcopt.clip_by_percentile,
        reference=clip_by_percentile,
        scheduled={"q": (10.0, 60.0)},
        optax_differs="optax has no such clip",
        float32=2e-6,
    ),
    block(
        "clip_spikes",
        funcopt.clip_spikes,
        {"threshold": 3.0, "decay": 0.9, "grace": 4},
        reference=clip_spikes,
        slots=("nu",),
        scheduled={"threshold": (3.0, 9.0), "decay": (0.9, 0.99)},
        optax_differs="optax has no such clip",
    ),
    block(
        "centralize",
        funcopt.centralize,
        reference=centralize,
        optax=None,
        optax_differs="optax takes the mean over all axes but the first",
    ),
    block(
        "normalize_by_update_norm",
        funcopt.normalize_by_update_norm,
        {"scale_factor": 2.0},
        reference=normalize_by_update_norm,
        scheduled={"scale_factor": (0.5, 2.0), "eps": (1e-6, 1e-3)},
        float32=1e-6,
    ),
]
