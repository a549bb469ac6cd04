"""Train one task untreated and under each treatment, and watch the untreated run.

Each treatment chooses its rate with seeds of its own, by runs solved, then by loss, and is judged
with others. Choosing and judging are one compiled program where they are as many runs.
"""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import funcopt

from ...core.metrics import reports
from ..comparison.compare import environment
from ..drawing.told import told
from ..drawing.words import plural
from ..problems.task import Task
from ..training.grid import parse_rates, parse_seeds
from ..training.progress import Stage
from .rescued import SAME_RATE, Depths, Rescue, Runs, Watch
from .treatments import BY_DEPTH, CLIP, NONE, Case, Make, Outcome, Treatment, get_case, treatments

CHOOSING_SEEDS = tuple(range(10_001, 10_009))
LOOKS = 50

Report = Callable[[Stage], None]


def unheard(stage: Stage) -> None:
    del stage  # nobody asked for progress


def rescue(
    task: str = "deep_tanh",
    optimizer: str | None = None,
    *,
    seeds: int | Sequence[int] = 12,
    steps: int | None = None,
    lrs: str | None = None,
    quick: bool = False,
    progress: Report | None = None,
) -> Rescue:
    """Break a training run on a task that is made for it, and try what rescues it.

    The optimizer is trained untreated, with its gradients clipped by their norm, by the norms of
    weights (AGC), behind a guard, and with what else the task has: an adaptive rate, another
    initialisation, other settings. Each treatment chooses from as many rates.

    - `task`: deep_tanh, rnn_adding, rnn_temporal_order, cliff or spike;
    - `optimizer`: a name or a call such as `"sgd(momentum=0.9)"`; None is the one that fails there;
    - `seeds`: how many, counted from 0, or the seeds themselves;
    - `steps`: of each run, None is the task's own number; `lrs`: as in `compare`, of the optimizer;
    - `quick`: a tenth of the steps, half as many rates, no other depths;
    - `progress`: called with a `Stage` before and after each treatment.

    A `KeyboardInterrupt` ends it early with what was finished. Raises `ValueError` for names that
    do not exist.
    """
    return prepared(task, optimizer, seeds=seeds, steps=steps, lrs=lrs, quick=quick)(
        progress or unheard
    )


def prepared(
    task: str = "deep_tanh",
    optimizer: str | None = None,
    *,
    seeds: int | Sequence[int] = 12,
    steps: int | None = None,
    lrs: str | None = None,
    quick: bool = False,
) -> "RescuePlan":
    """Check everything that `rescue` is asked to do, without doing it. Arguments as there.

    >>> prepared("cliff").description()
    'cliff, sgd: 6 treatments x 12 seeds x 300 steps'
    """
    case = get_case(task)
    base = case.optimizer if optimizer is None else optimizer
    rates = None if lrs is None else parse_rates(lrs)
    length = max(1, case.steps // 10 if quick else case.steps) if steps is None else steps
    if length < 1:
        raise ValueError(f"steps: {length} given, expected at least 1.")
    chosen = tuple(treatments(case, base, rates))
    return RescuePlan(case, chosen, base, rates, parse_seeds(seeds), length, quick)


@told
@dataclass(frozen=True, eq=False)
class RescuePlan:
    """What a rescue is asked to do, checked. Calling it does it."""

    case: Case
    treatments: tuple[Treatment, ...]
    optimizer: str
    rates: np.ndarray | None
    seeds: np.ndarray
    steps: int
    quick: bool

    def headline(self) -> str:
        """The plan in one line."""
        return self.description()

    def description(self) -> str:
        """The plan in one line."""
        parts = plural(len(self.treatments), "treatment"), plural(len(self.seeds), "seed")
        name = self.treatments[0].task.name
        return f"{name}, {self.optimizer}: {' x '.join(parts)} x {plural(self.steps, 'step')}"

    @property
    def depths(self) -> tuple[int, ...]:
        """Those at which some treatments are tried again."""
        return () if self.quick else self.case.depths

    @property
    def trainings(self) -> int:
        """How many treatments at how many depths, and the untreated run, for a share of them."""
        return len(self.treatments) + 1 + len(self.depths) * len(BY_DEPTH)

    def __call__(self, progress: Report = unheard) -> Rescue:
        """Train, watch, and keep what was finished where it is interrupted."""
        began = time.perf_counter()
        case, chosen, total = self.case, self.treatments, len(self.treatments)
        runs: list[Runs] = []
        depths: tuple[Depths, ...] = ()
        watched, paths, interrupted, untreated = None, {}, False, None
        try:
            for place, treatment in enumerate(chosen, start=1):
                share = (place - 1) / self.trainings
                doing = f"[{place}/{total}] {treatment.name}"
                progress(Stage(share, doing))
                judged, program = tried(case, treatment, self.seeds, self.steps, quick=self.quick)
                runs.append(judged)
                share = place / self.trainings
                progress(Stage(share, doing, f"[{place}/{total}] {judged.line()}"))
                if treatment.name == NONE:
                    untreated = program
                elif treatment.name == CLIP and untreated and judged.rate != runs[0].rate:
                    same = at(case, chosen[0], untreated, self.seeds, judged.rate, SAME_RATE)
                    runs.insert(1, same)
            progress(Stage(total / self.trainings, "the untreated run under a monitor"))
            rate = next(run.rate for run in runs if run.name == CLIP)
            first = int(self.seeds[0])
            watched = watch(case, chosen[0], first, rate, self.steps)
            if case.has_path:
                paths = {each.name: path(each, first, rate, self.steps) for each in chosen[:2]}
            if self.depths:
                depths = by_depth(case, self, runs, progress)
        except KeyboardInterrupt:
            interrupted = True
        return Rescue(
            task=chosen[0].task,
            optimizer=self.optimizer,
            treatments=case.where(),
            criterion=case.criterion,
            step_name=case.step_name,
            seeds=self.seeds,
            steps=self.steps,
            runs=tuple(runs),
            watched=watched,
            paths=paths,
            depths=depths,
            interrupted=interrupted,
            seconds=time.perf_counter() - began,
            environment=environment(),
            planned=total,
        )


def training(task: Task, make: Make, steps: int) -> Callable[..., Any]:
    """`train(seeds, rates) -> (curves, final)`, a program of one run for each seed and rate.

    The curves are the loss before each step, the norm of its gradient, whether it was shortened,
    and whether it was skipped.
    """

    verdict: Any = task.evaluate

    def one(seed, rate):
        start, data = jax.random.split(jax.random.key(seed))
        params = task.init(start)
        tx = make(rate)

        def step(carry, i):
            params, state = carry
            loss, grads = jax.value_and_grad(task.loss)(params, task.sample(data, i))
            norm = funcopt.global_norm(grads)
            params, state = funcopt.step(tx, grads, state, params, value=loss)
            told = {each.name: each.number for each in reports(state)}
            clipped = told.get("clip_ratio", jnp.ones(())) < 1
            skipped = told.get("skipped", jnp.zeros(())) > 0
            return (params, state), (loss, norm, clipped, skipped)

        carry, curves = jax.lax.scan(step, (params, tx.init(params)), jnp.arange(steps))
        return curves, verdict(carry[0])

    return jax.jit(jax.vmap(one))


def run(program: Callable[..., Any], seeds: np.ndarray, rates: np.ndarray) -> Any:
    given = jnp.asarray(seeds, jnp.uint32), jnp.asarray(rates, jnp.float32)
    return jax.tree.map(np.asarray, program(*given))


def tried(
    case: Case, treatment: Treatment, seeds: np.ndarray, steps: int, *, quick: bool
) -> tuple[Runs, Callable[..., Any]]:
    """Choose a rate, then train with it; also the program, for another rate."""
    program = training(treatment.task, treatment.make, steps)
    rates = treatment.rates[1::2] if quick and len(treatment.rates) > 3 else treatment.rates
    if len(rates) == 1:
        return at(case, treatment, program, seeds, float(rates[0])), program
    choosing = CHOOSING_SEEDS[:1] if quick else CHOOSING_SEEDS
    grid = np.repeat(rates, len(choosing))
    (losses, *_), _ = run(program, np.tile(choosing, len(rates)), grid)
    window = width(steps)
    outcome = case.judge(losses, window)
    final = last(losses, window)
    solved, middle = (
        [float(f(x[grid == rate])) for rate in rates]
        for f, x in ((np.sum, outcome.solved), (np.median, final))
    )
    best = min(range(len(rates)), key=lambda i: (-solved[i], middle[i], rates[i]))
    judged = at(case, treatment, program, seeds, float(rates[best]))
    return judged.choosing(rates, np.array(middle)), program


def at(
    case: Case,
    treatment: Treatment,
    program: Callable[..., Any],
    seeds: np.ndarray,
    rate: float,
    name: str = "",
) -> Runs:
    """Train with one rate and judge."""
    began = time.perf_counter()
    (losses, norms, clipped, skipped), final = run(program, seeds, np.full(len(seeds), rate))
    window = width(losses.shape[1])
    outcome: Outcome = case.judge(losses, window)
    return Runs(
        name=name or treatment.name,
        rate=rate,
        solved=outcome.solved,
        step=outcome.step,
        final=last(losses, window),
        accuracy=final["accuracy"],
        losses=losses,
        norms=norms,
        clipped=clipped,
        skipped=skipped,
        seconds=time.perf_counter() - began,
    )


def width(steps: int) -> int:
    """The window of steps over which losses are averaged: a twentieth of them."""
    return max(1, steps // 20)


def last(losses: np.ndarray, window: int) -> np.ndarray:
    """The mean loss of the last window, infinite where one is not finite."""
    mean = losses[:, -window:].astype(np.float64).mean(axis=1)
    return np.where(np.isfinite(losses).all(axis=1), mean, np.inf)


def watch(case: Case, treatment: Treatment, seed: int, rate: float, steps: int) -> Watch:
    """The untreated run of one seed under a monitor, which is asked again and again.

    It ends where something was not finite, so that the records before are not thinned out.
    """
    task = treatment.task
    tx = funcopt.monitor(treatment.make(rate), every=1, history=64, layer_axis=case.layer_axis)

    @jax.jit
    def advance(carry, data, first, count):
        def step(i, carry):
            params, state = carry
            loss, grads = jax.value_and_grad(task.loss)(params, task.sample(data, i))
            return funcopt.step(tx, grads, state, params, value=loss)

        return jax.lax.fori_loop(first, first + count, step, carry)

    start, data = jax.random.split(jax.random.key(jnp.uint32(seed)))
    params = task.init(start)
    initial = funcopt.diagnose_init(task.loss, params, task.sample(data, jnp.int32(0)))
    before = initial.verdict
    carry = (params, tx.init(params))
    ends = np.unique(np.linspace(0, steps, min(LOOKS, steps) + 1).astype(int))
    first: dict[str, int] = {}
    lag = []
    health = funcopt.health(carry[1], params)
    for begin, end in itertools.pairwise(ends):
        carry = advance(carry, data, jnp.int32(begin), jnp.int32(end - begin))
        health = funcopt.health(carry[1], carry[0])
        for verdict in health.verdicts:
            first.setdefault(verdict.name, int(end))
        seen = health.readings.mean["v_lag"]
        lag.append(float(np.nanmin(seen)) if np.isfinite(seen).any() else math.nan)
        if "NONFINITE" in first:
            break
    return Watch(rate, seed, before, health, first, ends[1 : len(lag) + 1], np.array(lag))


def path(treatment: Treatment, seed: int, rate: float, steps: int) -> np.ndarray:
    """Where the parameters are before each step, `[step, parameter]`, sorted by their names."""
    task = treatment.task

    @jax.jit
    def walk(seed, rate):
        start, data = jax.random.split(jax.random.key(seed))
        params = task.init(start)
        tx = treatment.make(rate)

        def step(carry, i):
            params, state = carry
            grads = jax.grad(task.loss)(params, task.sample(data, i))
            return funcopt.step(tx, grads, state, params), jnp.stack(jax.tree.leaves(params))

        return jax.lax.scan(step, (params, tx.init(params)), jnp.arange(steps))[1]

    return np.asarray(walk(jnp.uint32(seed), jnp.float32(rate)))


def by_depth(
    case: Case, plan: RescuePlan, done: list[Runs], progress: Report = unheard
) -> tuple[Depths, ...]:
    """Some of the treatments at every depth; each chooses its rate anew at each of them."""
    found: dict[str, list[Runs]] = {name: [] for name in BY_DEPTH}
    for depth in case.depths:
        same = depth == plan.treatments[0].task.settings["layers"]
        known = {run.name: run for run in done} if same else {}
        for treatment in treatments(case, plan.optimizer, plan.rates, depth=depth):
            if treatment.name in found:
                before = len(plan.treatments) + 1 + sum(map(len, found.values()))
                doing = f"{depth} layers, {treatment.name}"
                progress(Stage(before / plan.trainings, doing))
                runs = known.get(treatment.name)
                if runs is None:
                    runs = tried(case, treatment, plan.seeds, plan.steps, quick=False)[0]
                found[treatment.name].append(runs)
    return tuple(Depths(name, case.depths, tuple(runs)) for name, runs in found.items() if runs)
