"""One row for every algorithm and configuration that is worth proving.

Tests run over rows and read what differs from the columns; none asks for a name.

`ROWS` are the optimizers: `row.factory(learning_rate)` makes one. `BLOCKS` are the building blocks,
which know no rate and return a direction. `NESTED` are compositions, without a reference of their
own. `ALL` is all of them.

>>> row = next(row for row in ROWS if row.name == "adam-nesterov")
>>> row.factory(1e-3), row.slots, row.needs_params
(adam(learning_rate=0.001, nesterov=True), ('mu', 'nu'), False)
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import optax
import pytest
from optax import contrib

import funcopt
from funcopt.core.lift import Lifted
from funcopt.core.value import Value
from tests import reference
from tests.reference import Step


@dataclass(frozen=True)
class Row:
    """One configuration of one algorithm.

    Attributes:
        name: unique; the algorithm, and after a dash what is special.
        algorithm: the factory in funcopt.
        kwargs: the arguments it is called with, the learning rate aside.
        reference: the same in NumPy float64; None for compositions.
        reference_kwargs: its arguments; None for those of `kwargs`.
        rate: the learning rate in tests; None for a building block, which takes none.
        slots: what is remembered for each parameter, in order.
        acts_on: what one element of the update may depend on; "tree" is all leaves.
        complex: whether complex parameters are allowed.
        needs_params: whether `update` must be given the parameters.
        needs_value: whether `update` must be given the loss as `value`.
        own_rate: whether the rate in force is computed, not the number that was given.
        fixed_rate: whether no schedule may replace the rate, because only its start is given.
        looks_back: whether steps depend on the way from the start, in which the rounding of
            parameters counts; a reference is then compared with at rounded parameters.
        silent_steps: how many updates are 0 at first, whatever the gradients.
        wraps: whether the state holds that of an optimizer inside, with its own count and rate.
        moves_on_zero_gradient: whether parameters move although no gradient ever came.
        keeps_moving: whether a zero gradient after another one still moves them.
        random: whether each leaf draws numbers of its own.
        records_value: whether the state keeps the `value` that came with an update.
        masked: whether there is a `mask` that limits a weight decay.
        scheduled: hyperparameters that a schedule may replace, each with two values in its range.
        optax: the function of optax that means the same, None if there is none.
        optax_kwargs: its arguments; None for those of `kwargs`.
        optax_differs: why there is none, or when the two part.
        optax_rounds: the float32 deviation that optax's own rounding causes, or None.
        float32, float64: tolerances over 50 steps, relative to the largest parameter.
        way_float32, way_float64: the same for the sum of updates, relative to the largest.
        slots_float32: the same for slots, relative to the largest that an element has been.
    """

    name: str
    algorithm: Callable[..., Any]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    reference: Step | None = None
    reference_kwargs: Mapping[str, Any] | None = None
    rate: float | None = 0.05
    slots: tuple[str, ...] = ()
    acts_on: Literal["element", "array", "matrix", "tree"] = "element"
    complex: bool = True
    needs_params: bool = False
    needs_value: bool = False
    own_rate: bool = False
    fixed_rate: bool = False
    looks_back: bool = False
    silent_steps: int = 0
    wraps: bool = False
    moves_on_zero_gradient: bool = False
    keeps_moving: bool = False
    random: bool = False
    records_value: bool = False
    masked: bool = False
    scheduled: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    optax: Callable[..., Any] | None = None
    optax_kwargs: Mapping[str, Any] | None = None
    optax_differs: str = ""
    optax_rounds: float | None = None
    float32: float = 8e-7
    float64: float = 1e-13
    way_float32: float = 1e-6
    way_float64: float = 1e-12
    slots_float32: float = 2e-6

    @property
    def factory(self) -> Callable[..., Any]:
        """Makes the transformation from a learning rate (a building block: from nothing)."""
        return partial(self.algorithm, **self.kwargs) if self.kwargs else self.algorithm

    def make(self, rate: Any = None, **changes: Any) -> Any:
        """The transformation, at `rate` instead of the row's and with changed arguments."""
        if self.rate is None:
            assert rate is None
            return self.factory(**changes)
        return self.factory(self.rate if rate is None else rate, **changes)

    def descending(self, rate: Any = None, **changes: Any) -> Any:
        """What moves parameters: a building block with a descent after it."""
        if self.rate is not None:
            return self.make(rate, **changes)
        return funcopt.chain(self.make(**changes), funcopt.descend(0.05 if rate is None else rate))

    @property
    def descent_rate(self) -> float:
        """The learning rate of `descending()`."""
        return 0.05 if self.rate is None else self.rate

    @property
    def rate_name(self) -> str:
        """What the factory calls the learning rate."""
        return next(iter(inspect.signature(self.algorithm).parameters))

    @property
    def extra(self) -> Mapping[str, Any]:
        """What `update` must be given beside gradients, state and parameters."""
        return {"value": 2.0} if self.needs_value else {}

    @property
    def halved(self) -> tuple[str, ...]:
        """The slots that may be kept in half precision: directions, no sums and no magnitudes."""
        return tuple(name for name in self.slots if name in ("mu", "trace", "last_direction"))

    @property
    def accepts(self) -> set[str]:
        """The names of the factory's arguments."""
        return set(inspect.signature(self.algorithm).parameters)

    @cached_property
    def lifted(self) -> Lifted | None:
        """The rules and their lift, if they are all that the transformation is."""
        tx = self.make()
        while isinstance(tx, Value):
            tx = tx.body()
        return tx if isinstance(tx, Lifted) else None

    @property
    def kind(self) -> Any:
        """What the mechanism can tell of the row."""
        if self.lifted is None:
            return self.name
        return min(len(self.slots), 2), self.needs_params, self.rate is None, self.masked

    def transcribed(self) -> Mapping[str, Any]:
        """The reference's arguments."""
        return self.kwargs if self.reference_kwargs is None else self.reference_kwargs

    def theirs(self) -> Mapping[str, Any]:
        """The arguments of optax's function."""
        return self.kwargs if self.optax_kwargs is None else self.optax_kwargs


def spelled(x: Any) -> str:
    """`x` as the name of a case: without addresses, which differ between the workers of a run."""
    return re.sub(r" at 0x\w+", "", repr(x))


def each(rows: tuple[Row, ...], where: Callable[[Row], Any] = lambda row: True) -> Any:
    """Parametrise a test by row."""
    return pytest.mark.parametrize(
        "row", [pytest.param(row, id=row.name) for row in rows if where(row)]
    )


def each_kind(rows: tuple[Row, ...], where: Callable[[Row], Any] = lambda row: True) -> Any:
    """The same, for laws of the mechanism, which most rows leave to `funcopt.lift`.

    The lift calls a rule with one leaf, in the type of the arithmetic, and knows of it how many
    slots it has, whether it needs parameters, has a rate and takes a mask: of rows that are alike
    in that, the first implies the others, which are marked `every_row` and run by `.ci/run`. A row
    with an `update` of its own is a kind of its own.
    """
    cases, kinds = [], set()
    for row in filter(where, rows):
        marks = [pytest.mark.every_row] if row.kind in kinds else []
        cases.append(pytest.param(row, id=row.name, marks=marks))
        kinds.add(row.kind)
    return pytest.mark.parametrize("row", cases)


def tell(rows: tuple[Row, ...]) -> Iterator[str]:
    """A table of the columns that are capabilities, in Markdown."""
    head = ("row", "acts on", "slots", "complex", "needs parameters", "optax")
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        same = "same" if row.optax and not row.optax_differs else row.optax_differs
        slots = ", ".join(f"`{name}`" for name in row.slots) or "none"
        marks = ["yes" if x else "no" for x in (row.complex, row.needs_params)]
        yield f"| {' | '.join([row.name, row.acts_on, slots, *marks, same])} |"


def identity(p, g, slots, t, lr):
    return p - lr * g, slots


def scaled(p, g, slots, t, lr, step_size):
    return p - lr * step_size * g, slots


def decayed(p, g, slots, t, lr, weight_decay=0.0):
    return p - lr * (g + weight_decay * p), slots


def clipped(p, g, slots, t, lr, max_delta):
    parts = (np.clip(x, -max_delta, max_delta) for x in (g.real, g.imag))
    real, imaginary = parts
    return p - lr * (real + 1j * imaginary if np.iscomplexobj(g) else real), slots


def normed(p, g, slots, t, lr, max_norm):
    norm = np.sqrt(np.sum(np.abs(g) ** 2))
    return p - lr * g * (1 if norm <= max_norm else max_norm / norm), slots


def mechanized_sgd(
    learning_rate: Any,
    weight_decay: Any = 1e-2,
    eps: Any = 1e-8,
    s_init: Any = 1e-6,
    num_betas: int = 6,
    axis_name: Any = None,
    storage: Any = None,
) -> Any:
    base = funcopt.sgd(learning_rate)
    return funcopt.mechanize(
        base, weight_decay, eps, s_init, num_betas, axis_name=axis_name, storage=storage
    )


def hypergradient_sgd(
    learning_rate: Any,
    hyper_rate: Any = 0.02,
    variant: str = "multiplicative",
    axis_name: Any = None,
    storage: Any = None,
) -> Any:
    return funcopt.hypergradient(
        funcopt.identity(), learning_rate, hyper_rate, variant, axis_name=axis_name, storage=storage
    )


MOMENTS = ("mu", "nu")
BETAS = {"b1": (0.9, 0.6), "b2": (0.999, 0.95)}
ADAM = {**BETAS, "eps": (1e-8, 1e-3), "eps_root": (0.0, 1e-4)}
DECAY = {"weight_decay": (0.0, 0.2)}
DECAYING = {"needs_params": True, "moves_on_zero_gradient": True, "keeps_moving": True}
OTHER = {"b1": 0.7, "b2": 0.95, "eps": 1e-4, "eps_root": 1e-5}
TREE = {"acts_on": "tree", "needs_params": True}
# Sums over the tree are rounded, and a rate that is estimated from them hands that on to the way.
OWN_RATE = {**TREE, "own_rate": True, "float32": 2e-6, "way_float32": 1e-5, "slots_float32": 5e-6}
# optax raises decay rates to powers in float32: 1 - 0.999^t is 6e-6 off at the first step.
POWERS = 1e-5

ROWS: tuple[Row, ...] = (
    Row("sgd", funcopt.sgd, reference=reference.sgd, optax=optax.sgd),
    Row(
        "sgd-momentum",
        funcopt.sgd,
        {"momentum": 0.9},
        reference=reference.sgd,
        rate=0.02,
        slots=("trace",),
        keeps_moving=True,
        scheduled={"momentum": (0.5, 0.9)},
        optax=optax.sgd,
    ),
    Row(
        "sgd-nesterov",
        funcopt.sgd,
        {"momentum": 0.8, "nesterov": True},
        reference=reference.sgd,
        rate=0.02,
        slots=("trace",),
        keeps_moving=True,
        scheduled={"momentum": (0.5, 0.9)},
        optax=optax.sgd,
    ),
    Row(
        "adagrad",
        funcopt.adagrad,
        reference=reference.adagrad,
        rate=0.1,
        slots=("sum_of_squares",),
        scheduled={"eps": (1e-7, 1e-2)},
        optax=optax.adagrad,
    ),
    Row(
        "adagrad-from-zero",
        funcopt.adagrad,
        {"initial_accumulator_value": 0.0, "eps": 1e-3},
        reference=reference.adagrad,
        rate=0.1,
        slots=("sum_of_squares",),
        scheduled={"eps": (1e-7, 1e-2)},
        optax=optax.adagrad,
    ),
    Row(
        "adagrad-outside",
        funcopt.adagrad,
        {"initial_accumulator_value": 0.0, "eps": 1e-10, "eps_in_sqrt": False},
        reference=reference.adagrad,
        rate=0.1,
        slots=("sum_of_squares",),
        scheduled={"eps": (1e-7, 1e-2)},
        optax_differs="optax adds eps inside the root only",
    ),
    Row(
        "rmsprop",
        funcopt.rmsprop,
        reference=reference.rmsprop,
        rate=0.02,
        slots=("nu",),
        scheduled={"decay": (0.9, 0.99), "eps": (1e-8, 1e-3)},
        optax=optax.rmsprop,
    ),
    Row(
        "rmsprop-outside",
        funcopt.rmsprop,
        {"decay": 0.99, "eps": 1e-6, "eps_in_sqrt": False},
        reference=reference.rmsprop,
        rate=0.02,
        slots=("nu",),
        scheduled={"decay": (0.9, 0.99), "eps": (1e-8, 1e-3)},
        optax=optax.rmsprop,
    ),
    Row(
        "rmsprop-corrected",
        funcopt.rmsprop,
        {"bias_correction": True},
        reference=reference.rmsprop,
        rate=0.02,
        slots=("nu",),
        scheduled={"decay": (0.9, 0.99), "eps": (1e-8, 1e-3)},
        optax=optax.rmsprop,
        optax_rounds=POWERS,
    ),
    Row(
        "rmsprop-centered",
        funcopt.rmsprop,
        {"centered": True, "initial_scale": 0.5, "eps": 1e-3},
        reference=reference.rmsprop,
        rate=0.02,
        slots=MOMENTS,
        scheduled={"decay": (0.9, 0.99), "eps": (1e-3, 1e-2)},
        optax=optax.rmsprop,
    ),
    Row(
        "rmsprop-momentum",
        funcopt.rmsprop,
        {"momentum": 0.9},
        reference=reference.rmsprop,
        rate=0.005,
        slots=("nu", "trace"),
        keeps_moving=True,
        scheduled={"decay": (0.9, 0.99), "momentum": (0.5, 0.9)},
        optax=optax.rmsprop,
        optax_differs="while the rate changes: optax keeps it inside the momentum's buffer",
    ),
    Row(
        "rmsprop-centered-nesterov",
        funcopt.rmsprop,
        {
            "centered": True,
            "momentum": 0.9,
            "nesterov": True,
            "eps_in_sqrt": False,
            "initial_scale": 0.5,
        },
        reference=reference.rmsprop,
        rate=0.005,
        slots=(*MOMENTS, "trace"),
        keeps_moving=True,
        scheduled={"decay": (0.9, 0.99), "momentum": (0.5, 0.9)},
        optax=optax.rmsprop,
        optax_differs="while the rate changes: optax keeps it inside the momentum's buffer",
    ),
    Row(
        "adadelta",
        funcopt.adadelta,
        reference=reference.adadelta,
        rate=1.0,
        slots=("e_g", "e_x"),
        needs_params=True,
        masked=True,
        scheduled={"rho": (0.9, 0.99), "eps": (1e-6, 1e-3), **DECAY},
        optax=optax.adadelta,
        optax_differs="for complex parameters: optax accumulates g², not |g|²",
    ),
    Row(
        "adadelta-decay",
        funcopt.adadelta,
        {"rho": 0.95, "eps": 1e-3, "weight_decay": 0.1},
        reference=reference.adadelta,
        rate=1.0,
        slots=("e_g", "e_x"),
        masked=True,
        scheduled={"rho": (0.9, 0.99), "eps": (1e-6, 1e-3), **DECAY},
        optax=optax.adadelta,
        optax_differs="for complex parameters: optax accumulates g², not |g|²",
        # Where decay is the only gradient, slots inherit the rounding of a p that nears zero.
        slots_float32=1e-5,
        **DECAYING,
    ),
    Row(
        "adam",
        funcopt.adam,
        reference=reference.adam,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled=ADAM,
        optax=optax.adam,
        optax_rounds=POWERS,
    ),
    Row(
        "adam-other",
        funcopt.adam,
        OTHER,
        reference=reference.adam,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled=ADAM,
        optax=optax.adam,
    ),
    Row(
        "adam-nesterov",
        funcopt.adam,
        {"nesterov": True},
        reference=reference.adam,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled=ADAM,
        optax=optax.adam,
        optax_rounds=POWERS,
    ),
    Row(
        "adam-uncorrected",
        funcopt.adam,
        {"bias_correction": False},
        reference=reference.adam,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled=ADAM,
        optax_differs="optax always corrects",
    ),
    Row(
        "adamw",
        funcopt.adamw,
        reference=reference.adamw,
        slots=MOMENTS,
        masked=True,
        scheduled={**ADAM, **DECAY},
        optax=optax.adamw,
        optax_rounds=POWERS,
        **DECAYING,
    ),
    Row(
        "adamw-nesterov",
        funcopt.adamw,
        {"b2": 0.95, "weight_decay": 0.3, "nesterov": True},
        reference=reference.adamw,
        slots=MOMENTS,
        masked=True,
        scheduled={**ADAM, **DECAY},
        optax=optax.adamw,
        **DECAYING,
    ),
    Row(
        "nadam",
        funcopt.nadam,
        reference=reference.nadam,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled=ADAM,
        optax=optax.nadam,
        optax_rounds=POWERS,
    ),
    Row(
        "nadam-pytorch",
        funcopt.nadam,
        {"variant": "pytorch"},
        reference=reference.nadam,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled={"b2": (0.999, 0.95), "eps": (1e-8, 1e-3)},
        optax_differs="optax has no momentum schedule",
    ),
    Row(
        "nadam-pytorch-fast",
        funcopt.nadam,
        {"variant": "pytorch", "momentum_decay": 0.5, **OTHER},
        reference=reference.nadam,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled={"b2": (0.999, 0.95), "eps": (1e-8, 1e-3)},
        optax_differs="optax has no momentum schedule",
    ),
    Row(
        "nadam-init2winit",
        funcopt.nadam,
        {"variant": "init2winit"},
        reference=reference.nadam,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled=ADAM,
        optax_differs="optax corrects the look-ahead one step later",
    ),
    Row(
        "nadamw",
        funcopt.nadamw,
        {"b2": 0.95, "weight_decay": 0.3},
        reference=reference.nadamw,
        slots=MOMENTS,
        masked=True,
        scheduled={**ADAM, **DECAY},
        optax=optax.nadamw,
        **DECAYING,
    ),
    Row(
        "nadamw-pytorch",
        funcopt.nadamw,
        {"variant": "pytorch", "weight_decay": 0.01},
        reference=reference.nadamw,
        slots=MOMENTS,
        masked=True,
        scheduled={"b2": (0.999, 0.95), "eps": (1e-8, 1e-3), **DECAY},
        optax_differs="optax has no momentum schedule",
        **DECAYING,
    ),
    Row(
        "nadamw-init2winit",
        funcopt.nadamw,
        {"variant": "init2winit", "weight_decay": 0.08},
        reference=reference.nadamw,
        slots=MOMENTS,
        masked=True,
        scheduled={**ADAM, **DECAY},
        optax_differs="optax corrects the look-ahead one step later",
        **DECAYING,
    ),
    Row(
        "adamax",
        funcopt.adamax,
        reference=reference.adamax,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled={**BETAS, "eps": (1e-8, 1e-3)},
        optax=optax.adamax,
    ),
    Row(
        "amsgrad",
        funcopt.amsgrad,
        reference=reference.amsgrad,
        slots=(*MOMENTS, "nu_max"),
        keeps_moving=True,
        scheduled=ADAM,
        optax=optax.amsgrad,
        optax_rounds=POWERS,
    ),
    Row(
        "amsgrad-pytorch",
        funcopt.amsgrad,
        {"variant": "pytorch", "b1": 0.7, "b2": 0.6},
        reference=reference.amsgrad,
        slots=(*MOMENTS, "nu_max"),
        keeps_moving=True,
        scheduled=ADAM,
        optax_differs="optax keeps the maximum of corrected means, or corrects nothing",
    ),
    Row(
        "amsgrad-paper",
        funcopt.amsgrad,
        {"variant": "paper", "b1": 0.7, "b2": 0.6},
        reference=reference.amsgrad,
        slots=(*MOMENTS, "nu_max"),
        keeps_moving=True,
        scheduled=ADAM,
        optax=optax.amsgrad,
        optax_kwargs={
            "b1": 0.7,
            "b2": 0.6,
            "bias_correction_mu": False,
            "bias_correction_nu": False,
        },
    ),
    Row(
        "lion",
        funcopt.lion,
        reference=reference.lion,
        slots=("mu",),
        masked=True,
        scheduled={"b1": (0.9, 0.6), "b2": (0.99, 0.9), **DECAY},
        optax=optax.lion,
        **DECAYING,
    ),
    Row(
        "lion-strong-decay",
        funcopt.lion,
        {"b1": 0.95, "b2": 0.98, "weight_decay": 0.5},
        reference=reference.lion,
        slots=("mu",),
        masked=True,
        scheduled={"b1": (0.9, 0.6), "b2": (0.99, 0.9), **DECAY},
        optax=optax.lion,
        **DECAYING,
    ),
    Row(
        "stable-adamw",
        funcopt.stable_adamw,
        reference=reference.stable_adamw,
        slots=MOMENTS,
        acts_on="array",
        masked=True,
        scheduled={**BETAS, "eps": (1e-6, 1e-3), **DECAY},
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
    Row(
        "spam",
        funcopt.spam,
        {"threshold": 3.0, "reset_interval": 12, "warmup": 4, "grace": 7, "weight_decay": 0.1},
        reference=reference.spam,
        slots=MOMENTS,
        masked=True,
        scheduled={**BETAS, "eps": (1e-6, 1e-3), "threshold": (3.0, 9.0), **DECAY},
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
    Row(
        "stable-spam",
        funcopt.stable_spam,
        {"gamma3": 0.9, "weight_decay": 0.1, "reset_interval": 20, "total_steps": 30},
        reference=reference.stable_spam,
        slots=MOMENTS,
        acts_on="array",
        masked=True,
        scheduled={**BETAS, "eps": (1e-8, 1e-3), "gamma1": (0.7, 0.9), **DECAY},
        optax_differs="optax has no such optimizer",
        **DECAYING,
    ),
    Row(
        "dog",
        funcopt.dog,
        {"init_step": ("heuristic", 1e-3)},
        reference=reference.dog,
        reference_kwargs={"start": 1e-3},
        rate=1.0,
        slots=("init_params", "average"),
        looks_back=True,
        masked=True,
        scheduled=DECAY,
        optax=contrib.dog,
        **OWN_RATE,
    ),
    Row(
        "dowg",
        funcopt.dowg,
        reference=reference.dowg,
        rate=1.0,
        slots=("init_params",),
        looks_back=True,
        masked=True,
        scheduled=DECAY,
        optax=contrib.dowg,
        **OWN_RATE,
    ),
    Row(
        "prodigy",
        funcopt.prodigy,
        {"estim_lr0": 1e-3, "bias_correction": True, "safeguard_warmup": True},
        reference=reference.prodigy,
        reference_kwargs={"d0": 1e-3, "bias_correction": True, "safeguard_warmup": True},
        rate=1.0,
        slots=(*MOMENTS, "grad_sum", "init_params"),
        looks_back=True,
        masked=True,
        scheduled={"beta3": (0.99, 0.9), **DECAY},
        optax=contrib.prodigy,
        optax_kwargs={"estim_lr0": 1e-3, "safeguard_warmup": True},
        optax_differs="for complex parameters: optax accumulates g², not |g|²",
        **OWN_RATE,
    ),
    Row(
        "dadapt-sgd",
        funcopt.dadapt_sgd,
        {"estim_lr0": 1e-2, "growth_rate": 1.1},
        reference=reference.dadapt_sgd,
        reference_kwargs={"d0": 1e-2, "growth_rate": 1.1},
        rate=1.0,
        slots=("grad_sum", "init_params"),
        looks_back=True,
        masked=True,
        scheduled={"momentum": (0.0, 0.9), **DECAY},
        optax_differs="optax has no such optimizer",
        **OWN_RATE,
    ),
    Row(
        "dadapt-adagrad",
        funcopt.dadapt_adagrad,
        {"estim_lr0": 1e-2, "growth_rate": 1.1},
        reference=reference.dadapt_adagrad,
        reference_kwargs={"d0": 1e-2, "growth_rate": 1.1},
        rate=1.0,
        slots=("grad_sum", "sum_of_squares", "init_params"),
        looks_back=True,
        masked=True,
        scheduled={"momentum": (0.0, 0.9), **DECAY},
        optax_differs="optax has no such optimizer",
        **OWN_RATE,
    ),
    Row(
        "dadapt-adamw",
        funcopt.dadapt_adamw,
        {"estim_lr0": 1e-3, "bias_correction": True},
        reference=reference.dadapt_adamw,
        reference_kwargs={"d0": 1e-3, "bias_correction": True},
        rate=1.0,
        slots=(*MOMENTS, "grad_sum"),
        masked=True,
        scheduled=DECAY,
        optax=contrib.dadapt_adamw,
        optax_kwargs={"estim_lr0": 1e-3},
        optax_differs="for complex parameters: optax accumulates g², not |g|²",
        optax_rounds=1e-4,  # as above, and what the estimate makes of it
        **OWN_RATE,
    ),
    Row(
        "momo",
        funcopt.momo,
        reference=reference.momo,
        rate=1.0,
        slots=("mu",),
        needs_value=True,
        scheduled={"beta": (0.9, 0.6), "lower_bound": (0.0, 0.5), **DECAY},
        optax=contrib.momo,
        **OWN_RATE,
    ),
    Row(
        "momo-adam",
        funcopt.momo_adam,
        reference=reference.momo_adam,
        rate=0.1,
        slots=MOMENTS,
        needs_value=True,
        scheduled={**BETAS, "lower_bound": (0.0, 0.5), **DECAY},
        optax=contrib.momo_adam,
        optax_differs="for complex parameters: optax accumulates g², not |g|²",
        optax_rounds=POWERS,
        **OWN_RATE,
    ),
    Row(
        "polyak-sgd",
        funcopt.polyak_sgd,
        reference=reference.polyak_sgd,
        rate=1.0,
        acts_on="tree",
        needs_value=True,
        own_rate=True,
        scheduled={"scaling": (1.0, 0.5), "f_min": (0.0, 0.5), "eps": (0.0, 0.1)},
        optax=optax.polyak_sgd,
    ),
    Row(
        "schedule-free-sgd",
        funcopt.schedule_free_sgd,
        reference=reference.schedule_free_sgd,
        rate=0.0625,
        slots=("z",),
        needs_params=True,
        wraps=True,
        masked=True,
        scheduled={"b1": (0.9, 0.6), **DECAY},
        optax=contrib.schedule_free_sgd,
        way_float32=5e-6,  # the average is recovered from the parameters, of which it is 9/10
    ),
    Row(
        "schedule-free-adamw",
        funcopt.schedule_free_adamw,
        {"weight_decay": 0.05},
        reference=reference.schedule_free_adamw,
        rate=0.0625,
        slots=("z", "nu"),
        wraps=True,
        masked=True,
        scheduled={"b1": (0.9, 0.6), "b2": (0.999, 0.95), "eps": (1e-8, 1e-3), **DECAY},
        optax=contrib.schedule_free_adamw,
        optax_rounds=POWERS,
        **DECAYING,
    ),
    Row(
        "schedule-free-radam",
        funcopt.schedule_free_radam,
        {"b2": 0.98},
        reference=reference.schedule_free_radam,
        rate=0.0625,
        slots=("z", "nu"),
        needs_params=True,
        own_rate=True,
        silent_steps=4,
        wraps=True,
        masked=True,
        scheduled={"b1": (0.9, 0.6), **DECAY},
        optax_differs="optax has no such optimizer",
        way_float32=5e-6,
        float64=1e-6,  # the rectification is a schedule, which is in float32 always
        way_float64=1e-6,
    ),
    Row(
        "cocob",
        funcopt.cocob,
        reference=reference.cocob,
        rate=1.0,
        slots=("init_particles", "cumulative_gradients", "scale", "subgradients", "reward"),
        needs_params=True,
        looks_back=True,
        masked=True,
        scheduled={"alpha": (100.0, 10.0), **DECAY},
        optax=contrib.cocob,
        optax_differs="for complex parameters: optax's rewards are complex",
        way_float32=2e-6,
        slots_float32=2e-5,  # the reward is a difference of what was won and lost
    ),
    Row(
        "mechanic",
        mechanized_sgd,
        {"s_init": 1e-3},
        reference=reference.mechanic_sgd,
        rate=0.5,
        slots=("x0", "delta"),
        wraps=True,
        looks_back=True,
        scheduled={"weight_decay": (0.0, 0.2)},
        way_float32=5e-6,
        optax_differs="optax recomputes the base optimizer's way from the parameters",
        **TREE,
    ),
    Row(
        "hypergradient",
        hypergradient_sgd,
        reference=reference.hypergradient_sgd,
        rate=0.01,
        slots=("last_direction",),
        wraps=True,
        fixed_rate=True,
        optax_differs="optax has no such optimizer",
        **OWN_RATE,
    ),
)


def _block(name: str, algorithm: Callable[..., Any], kwargs: Any = (), **columns: Any) -> Row:
    columns = {"optax": getattr(optax, algorithm.__name__, None), **columns}
    return Row(name, algorithm, dict(kwargs), rate=None, **columns)


BLOCKS: tuple[Row, ...] = (
    _block("identity", funcopt.identity, reference=identity),
    _block("scale", funcopt.scale, {"step_size": -0.5}, reference=scaled),
    _block(
        "descend",
        funcopt.descend,
        {"learning_rate": 0.3},
        reference=scaled,
        reference_kwargs={"step_size": -0.3},
        optax=optax.scale_by_learning_rate,
    ),
    _block(
        "scale_by_learning_rate",
        funcopt.scale_by_learning_rate,
        {"learning_rate": 0.3, "flip_sign": False},
        reference=scaled,
        reference_kwargs={"step_size": 0.3},
    ),
    _block(
        "clip",
        funcopt.clip,
        {"max_delta": 0.5},
        reference=clipped,
        scheduled={"max_delta": (0.5, 2.0)},
        optax_differs="for complex updates, which optax does not clip by parts",
    ),
    _block(
        "clip_by_global_norm",
        funcopt.clip_by_global_norm,
        {"max_norm": 1.0},
        reference=normed,
        acts_on="tree",
        scheduled={"max_norm": (0.5, 2.0)},
        float32=1e-6,  # a sum of squares and a root more than elsewhere
    ),
    _block(
        "clip_by_norm",
        funcopt.clip_by_norm,
        {"max_norm": 1.0},
        reference=reference.clip_by_norm,
        acts_on="array",
        scheduled={"max_norm": (0.5, 2.0)},
        optax_differs="optax has no clip by the norm of each leaf",
        float32=1e-6,
    ),
    _block(
        "clip_by_block_rms",
        funcopt.clip_by_block_rms,
        {"threshold": 0.5},
        reference=reference.clip_by_block_rms,
        acts_on="array",
        scheduled={"threshold": (0.5, 2.0)},
        float32=1e-6,
    ),
    _block(
        "clip_update_rms",
        funcopt.clip_update_rms,
        reference=reference.clip_by_block_rms,
        acts_on="array",
        scheduled={"threshold": (0.5, 2.0)},
        optax=optax.clip_by_block_rms,
        optax_kwargs={"threshold": 1.0},
        float32=1e-6,
    ),
    _block(
        "adaptive_grad_clip",
        funcopt.adaptive_grad_clip,
        {"clipping": 0.1},
        reference=reference.adaptive_grad_clip,
        acts_on="array",
        needs_params=True,
        scheduled={"clipping": (0.1, 1.0), "eps": (1e-3, 1e-1)},
        optax_differs="for arrays of three axes, where optax sums over the first only",
        float32=1e-6,
    ),
    _block(
        "clip_by_zscore",
        funcopt.clip_by_zscore,
        {"z": 1.0, "warmup": 5, "max_norm": 30.0, "decay": 0.9},
        reference=reference.clip_by_zscore,
        acts_on="tree",
        scheduled={"decay": (0.9, 0.8), "max_norm": (30.0, 10.0)},
        optax_differs="optax has no such clip",
        float32=2e-6,
    ),
    _block(
        "clip_by_ema",
        funcopt.clip_by_ema,
        {"warmup": 7, "max_norm": 1e9},  # no global clip: the reference knows one leaf
        reference=reference.clip_by_ema,
        acts_on="array",
        scheduled={"factor": (1.05, 2.0), "decay": (0.98, 0.8)},
        optax_differs="optax has no such clip",
        float32=2e-6,
    ),
    _block(
        "clip_by_percentile",
        funcopt.clip_by_percentile,
        reference=reference.clip_by_percentile,
        acts_on="tree",
        scheduled={"q": (10.0, 60.0)},
        optax_differs="optax has no such clip",
        float32=2e-6,
    ),
    _block(
        "clip_spikes",
        funcopt.clip_spikes,
        {"threshold": 3.0, "decay": 0.9, "grace": 4},
        reference=reference.clip_spikes,
        slots=("nu",),
        scheduled={"threshold": (3.0, 9.0), "decay": (0.9, 0.99)},
        optax_differs="optax has no such clip",
    ),
    _block(
        "centralize",
        funcopt.centralize,
        reference=reference.centralize,
        acts_on="array",
        optax=None,
        optax_differs="optax takes the mean over all axes but the first",
    ),
    _block(
        "normalize_by_update_norm",
        funcopt.normalize_by_update_norm,
        {"scale_factor": 2.0},
        reference=reference.normalize_by_update_norm,
        acts_on="tree",
        scheduled={"scale_factor": (0.5, 2.0), "eps": (1e-6, 1e-3)},
        float32=1e-6,
    ),
    _block(
        "add_decayed_weights",
        funcopt.add_decayed_weights,
        {"weight_decay": 0.1},
        reference=decayed,
        masked=True,
        scheduled=DECAY,
        **DECAYING,
    ),
    _block(
        "trace",
        funcopt.trace,
        {"decay": 0.9},
        reference=reference.sgd,
        reference_kwargs={"momentum": 0.9},
        slots=("trace",),
        keeps_moving=True,
    ),
    _block(
        "trace-nesterov",
        funcopt.trace,
        {"decay": 0.9, "nesterov": True},
        reference=reference.sgd,
        reference_kwargs={"momentum": 0.9, "nesterov": True},
        slots=("trace",),
        keeps_moving=True,
    ),
    _block(
        "scale_by_rss",
        funcopt.scale_by_rss,
        reference=reference.adagrad,
        slots=("sum_of_squares",),
        scheduled={"eps": (1e-7, 1e-2)},
    ),
    _block(
        "scale_by_rms",
        funcopt.scale_by_rms,
        {"decay": 0.95, "initial_scale": 0.1},
        reference=reference.rmsprop,
        slots=("nu",),
        scheduled={"decay": (0.9, 0.99), "eps": (1e-8, 1e-3)},
    ),
    _block(
        "scale_by_stddev",
        funcopt.scale_by_stddev,
        {"initial_scale": 0.1},
        reference=reference.rmsprop,
        reference_kwargs={"initial_scale": 0.1, "centered": True},
        slots=MOMENTS,
        # The difference of two means that are nearly equal loses digits.
        float32=1e-6,
    ),
    _block(
        "scale_by_adadelta",
        funcopt.scale_by_adadelta,
        {"rho": 0.95},
        reference=reference.adadelta,
        slots=("e_g", "e_x"),
        scheduled={"rho": (0.9, 0.99), "eps": (1e-6, 1e-3)},
        optax_differs="for complex parameters: optax accumulates g², not |g|²",
    ),
    _block(
        "scale_by_adam",
        funcopt.scale_by_adam,
        {"b2": 0.95},
        reference=reference.adam,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled=ADAM,
    ),
    _block(
        "scale_by_adamax",
        funcopt.scale_by_adamax,
        {"b2": 0.95},
        reference=reference.adamax,
        slots=MOMENTS,
        keeps_moving=True,
        scheduled={**BETAS, "eps": (1e-8, 1e-3)},
    ),
    _block(
        "scale_by_amsgrad",
        funcopt.scale_by_amsgrad,
        {"b2": 0.95},
        reference=reference.amsgrad,
        slots=(*MOMENTS, "nu_max"),
        keeps_moving=True,
        scheduled=ADAM,
    ),
    _block(
        "scale_by_lion",
        funcopt.scale_by_lion,
        {"b2": 0.95},
        reference=reference.lion,
        reference_kwargs={"b2": 0.95, "weight_decay": 0.0},
        slots=("mu",),
        keeps_moving=True,
        scheduled={"b1": (0.9, 0.6), "b2": (0.99, 0.9)},
    ),
)


def clipped_adamw(learning_rate: Any) -> Any:
    return funcopt.chain(
        funcopt.clip_by_global_norm(1.0), funcopt.adamw(learning_rate, weight_decay=0.1)
    )


def accumulated_l2(learning_rate: Any) -> Any:
    return funcopt.chain(
        funcopt.add_decayed_weights(0.1),
        funcopt.trace(0.9),
        funcopt.chain(funcopt.lift(funcopt.Clip(1.0)), funcopt.descend(learning_rate)),
    )


def own_rules(learning_rate: Any) -> Any:
    return funcopt.optimizer(
        funcopt.Clip(1.0),
        funcopt.Adam(b2=0.95),
        funcopt.Momentum(0.5),
        funcopt.Decay(0.1),
        learning_rate=learning_rate,
    )


def guarded(learning_rate: Any) -> Any:
    clip = funcopt.clip_by_global_norm(1.0)
    return funcopt.guard(
        funcopt.chain(clip, funcopt.adamw(learning_rate, weight_decay=0.1)), check_updates=True
    )


def accumulated(learning_rate: Any) -> Any:
    return funcopt.accumulate(funcopt.guard(funcopt.sgd(learning_rate, momentum=0.9)), every=1)


def rolled_back(learning_rate: Any) -> Any:
    return funcopt.rollback(funcopt.guard(funcopt.adam(learning_rate)), every=2, patience=2)


def loss_scaled(learning_rate: Any) -> Any:
    return funcopt.loss_scale(funcopt.sgd(learning_rate), init_scale=1.0)


def monitored(learning_rate: Any) -> Any:
    return funcopt.monitor(funcopt.sgd(learning_rate, momentum=0.9), every=2, history=2)


def noisy_sgd(learning_rate: Any) -> Any:
    return funcopt.chain(funcopt.add_noise(0.01, 0.55, key=7), funcopt.sgd(learning_rate))


NESTED: tuple[Row, ...] = (
    Row("guarded", guarded, slots=MOMENTS, acts_on="tree", **DECAYING),
    Row("accumulated", accumulated, slots=("trace",), acts_on="tree", keeps_moving=True),
    Row(
        "rolled-back",
        rolled_back,
        slots=MOMENTS,
        acts_on="tree",
        needs_params=True,
        keeps_moving=True,
    ),
    Row(
        "monitored",
        monitored,
        slots=("trace",),
        records_value=True,
        acts_on="tree",
        needs_params=True,
        keeps_moving=True,
    ),
    Row("loss-scaled", loss_scaled, acts_on="tree"),
    Row("clipped-adamw", clipped_adamw, slots=MOMENTS, acts_on="tree", **DECAYING),
    Row("l2-in-chains", accumulated_l2, slots=("trace",), **DECAYING),
    Row("own-rules", own_rules, slots=(*MOMENTS, "trace"), **DECAYING),
    Row(
        "noisy-sgd",
        noisy_sgd,
        acts_on="array",
        moves_on_zero_gradient=True,
        keeps_moving=True,
        random=True,
    ),
)

ALL: tuple[Row, ...] = (*ROWS, *BLOCKS, *NESTED)
