"""The limits beyond which a monitor gives a verdict: `funcopt.Thresholds`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """Limits beyond which `health` and `diagnose_init` give a verdict.

    Those marked *published* are numbers that a paper or a widely used tool states; the others are
    funcopt's own choice. All were tried on healthy runs, on which nothing may be said, and on
    broken ones (`tests/test_health.py`); none was tuned beyond that.

    Args:
        depth_factor: by which gradients may grow or shrink from the last layer of a series to the
            first.
        depth_layers: how many layers make a series.
        vanished_ratio: a layer's gradient has vanished below this share of the largest layer's
            (published: AutoTrainer) and below `vanished_norm`.
        vanished_norm: see `vanished_ratio` (published: AutoTrainer).
        weight_factor: gradients that are so many times as large as the weights explode; adaptive
            gradient clipping keeps them far below 1.
        growth: of the gradient norm, beside its median over the run.
        surge: of the gradient norm of a single step, as far as a clip let it through, over the
            usual one, where the loss has risen after it.
        surge_alone: the same, where the loss has not risen or is not known, and there is no clip.
        rise: share by which a loss has risen then, from before such a step to 20 steps later.
        share: of layers that must be affected, where one or two may be by design.
        dead: share of gradient elements that are exactly zero in a dead layer.
        dying: the same in a dying one (published: AutoTrainer).
        records: how many measurements a verdict on running means takes.
        sparse: layers whose gradients have zeros by design, a regular expression.
        saturated: share of elements that are zero or below a thousandth of their root mean square.
        negligible: share of those that are so without being zero.
        v_lag: mean log g²/v̂ below this is stale, if gradients grow.
        regrowth: how many times above their least gradients have grown then, within the last
            steps; its root over the whole run.
        settled: how many steps it takes until second moments and the size of steps are judged.
        rms: StableAdamW's RMS_t. Its authors saw spikes of the loss 1 to 8 steps after gradients
            had outgrown the second moment; the number is not theirs.
        eps_dominated: share of elements with √v̂ below ε.
        lost: share of updates that rounding loses, in any precision.
        clipped: share of the last steps that are clipped.
        clipped_steps: how many steps that takes.
        skipped: share of the last steps that are skipped.
        spikes: share of all steps that are spikes (published: OLMo's spike score).
        ratio: update norm over parameter norm, of which about 1e-3 is usual (published: Karpathy's
            lectures).
    """

    depth_factor: float = 1e3
    depth_layers: int = 4
    vanished_ratio: float = 1e-3
    vanished_norm: float = 1e-4
    weight_factor: float = 100.0
    growth: float = 1e3
    surge: float = 10.0
    surge_alone: float = 30.0
    rise: float = 0.05
    share: float = 0.2
    dead: float = 0.999
    dying: float = 0.7
    records: int = 3
    sparse: str = "embed|lookup|wte|wpe|table"
    saturated: float = 0.7
    negligible: float = 0.05
    v_lag: float = -4.0
    regrowth: float = 10.0
    settled: int = 100
    rms: float = 2.3
    eps_dominated: float = 0.5
    lost: float = 0.5
    clipped: float = 0.5
    clipped_steps: int = 100
    skipped: float = 0.1
    spikes: float = 1e-3
    ratio: float = 0.1


RELAXED = {
    "depth_factor": 0.5,
    "vanished_ratio": 2.0,
    "vanished_norm": 2.0,
    "weight_factor": 0.5,
    "growth": 0.5,
    "dying": 0.8,
    "saturated": 0.8,
    "negligible": 0.8,
    "v_lag": 0.7,
    "regrowth": 0.5,
    "rms": 0.8,
    "eps_dominated": 0.8,
    "lost": 0.8,
    "clipped": 0.8,
    "skipped": 0.5,
    "spikes": 0.5,
    "ratio": 0.8,
}
"""By what thresholds are multiplied for what was told before: it has to go away by more than it
came, else it would be told, and not told, and told again."""
