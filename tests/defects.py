"""Measures known ways in which an optimizer library goes wrong, on any library with optax's names.

Each check builds a transformation, uses it the way a training loop does, and says what it saw. A
check passes or fails; nothing in it depends on which library is measured. `measure` returns one
`Finding` for each optimizer and check that applies to it.
"""

import inspect
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

import funcopt
from funcopt.core.record import Static
from tests import catalog

Factory = Callable[..., optax.GradientTransformation]

RATE = 1e-3
LONG_RUN = 5_000
SHORT = {"float16": "f16", "bfloat16": "bf16", "float32": "f32"}


class Library(NamedTuple):
    """A library under test.

    `changeable` makes an optimizer whose numbers can change during a run, which is what optax has
    `inject_hyperparams` for; a library whose optimizers are pytrees needs nothing for it.
    """

    module: ModuleType
    changeable: Callable[[Factory], optax.GradientTransformation]


class Seen(NamedTuple):
    """What a check found: whether all is well, and the evidence in a few words."""

    ok: bool
    words: str


class Finding(NamedTuple):
    """One check of one optimizer."""

    row: str
    check: str
    ok: bool
    seen: str


def inject(factory: Factory) -> optax.GradientTransformation:
    """optax's way to numbers that change during a run."""
    return optax.inject_hyperparams(factory, static_args=structure(factory))(learning_rate=RATE)


def structure(factory: Factory) -> tuple[str, ...]:
    """The arguments that are no numbers to change: axes and lengths."""
    return tuple(
        name
        for name, each in inspect.signature(factory).parameters.items()
        if name == "min_dim_size_to_factor"
        or Static in get_args(getattr(each.annotation, "meaning", None))
    )


def finite(tree: Any) -> bool:
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))


def pair(param: str, grad: str, value: float = 0.1) -> tuple[dict, dict]:
    """One parameter of ones and its gradient, each of its own dtype."""
    return {"w": jnp.ones(2, param)}, {"w": jnp.full(2, value, grad)}


def avals(tree: Any) -> dict[str, Any]:
    """Path -> dtype, shape and weakness of every leaf."""
    return {
        jax.tree_util.keystr(path): jax.typeof(leaf).str_short() + "*" * jax.typeof(leaf).weak_type
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def changed(before: Any, after: Any) -> list[str]:
    """The leaves whose type differs between two trees, as words."""
    if jax.tree.structure(before) != jax.tree.structure(after):
        return ["another tree structure"]
    old, new = avals(before), avals(after)
    return [f"{path} {old[path]} -> {new[path]}" for path in old if old[path] != new[path]]


def changeable_numbers(library: Library, factory: Factory) -> Seen:
    """bf16 parameters and numbers that may change during the run: the first update is finite."""
    tx = library.changeable(factory)
    params, grads = pair("bfloat16", "bfloat16")
    state = tx.init(params)
    updates, _ = jax.jit(tx.update)(grads, state, params)
    return Seen(finite(updates), f"update {np.asarray(updates['w'], np.float32)}")


def inside_inject_hyperparams(library: Library, factory: Factory) -> Seen:
    """optax's wrapper hands numbers over in bf16, where 0.999 is 1: the first update is finite."""
    del library
    tx = inject(factory)
    params, grads = pair("bfloat16", "bfloat16")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*came in bfloat16")
        updates, _ = jax.jit(tx.update)(grads, jax.jit(tx.init)(params), params)
    return Seen(finite(updates), f"update {np.asarray(updates['w'], np.float32)}")


def zero_gradient(dtype: str, library: Library, factory: Factory) -> Seen:
    """Two zero gradients leave everything finite."""
    del library
    tx = factory(RATE)
    params, grads = pair(dtype, dtype, 0.0)
    state = tx.init(params)
    for _ in range(2):
        updates, state = tx.update(grads, state, params)
    return Seen(finite((updates, state)), f"update {np.asarray(updates['w'], np.float32)}")


def stall(library: Library, factory: Factory) -> Seen | None:
    """After a long run on bf16 gradients of 1 every slot is within 5% of the float32 run's."""
    del library

    @partial(jax.jit, static_argnums=0)
    def slots(dtype):
        tx = factory(RATE)
        params, grads = jnp.ones((), dtype), jnp.ones((), dtype)
        state, _ = jax.lax.scan(
            lambda state, _: (tx.update(grads, state, params)[1], None),
            tx.init(params),
            length=LONG_RUN,
        )
        return state

    exact = jax.tree_util.tree_leaves_with_path(slots("float32"))
    half = jax.tree_util.tree_leaves(slots("bfloat16"))
    compared = [
        (jax.tree_util.keystr(path), have.item(), want.item())
        for (path, want), have in zip(exact, half, strict=True)
        if jnp.issubdtype(want.dtype, jnp.floating)
    ]
    if not compared:
        return None
    wrong = [
        f"{path} {have:.3g} instead of {want:.3g}"
        for path, have, want in compared
        if not abs(have - want) <= 0.05 * abs(want)
    ]
    return Seen(not wrong, "; ".join(wrong) or f"{len(compared)} numbers agree")


def state_types(param: str, grad: str, library: Library, factory: Factory) -> Seen:
    """The state after an update has the types and structure that `init` gave it."""
    del library
    tx = factory(RATE)
    params, grads = pair(param, grad)
    before = jax.eval_shape(tx.init, params)
    after = jax.eval_shape(tx.update, grads, before, params)[1]
    wrong = changed(before, after)
    return Seen(not wrong, "; ".join(wrong) or "unchanged")


def one_compilation(param: str, grad: str, library: Library, factory: Factory) -> Seen:
    """Three steps through one jitted function trace it once."""
    tx = factory(RATE)
    traces = 0

    @jax.jit
    def step(params, state, grads):
        nonlocal traces
        traces += 1
        updates, state = tx.update(grads, state, params)
        return library.module.apply_updates(params, updates), state

    params, grads = pair(param, grad)
    state = tx.init(params)
    for _ in range(3):
        params, state = step(params, state, grads)
    return Seen(traces == 1 and finite(params), f"{traces} compilations, {avals(params)}")


def scan(param: str, grad: str, library: Library, factory: Factory) -> Seen:
    """`jax.lax.scan` accepts parameters and state as its carry."""
    tx = factory(RATE)
    params, grads = pair(param, grad)

    def body(carry, _):
        params, state = carry
        updates, state = tx.update(grads, state, params)
        return (library.module.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(body, (params, tx.init(params)), length=2)
    return Seen(finite(params), "accepted")


def none_leaf(library: Library, factory: Factory) -> Seen:
    """None among parameters and gradients, as Equinox's filters leave, passes through."""
    tx = factory(RATE)
    params = {"frozen": None, "w": jnp.ones(2)}
    grads = {"frozen": None, "w": jnp.ones(2)}
    updates, _ = tx.update(grads, tx.init(params), params)
    moved = library.module.apply_updates(params, updates)
    return Seen(moved["frozen"] is None and finite(moved), f"{moved}")


def refused(word: str, call: Callable[[], Any]) -> Seen:
    """`call` raises a `TypeError` or `ValueError` that names `word`."""
    try:
        outcome = call()
    except (TypeError, ValueError) as error:
        return Seen(word in str(error), f"{type(error).__name__}: {error}")
    return Seen(False, f"accepted: {outcome}")


def bad_leaf(leaves: Callable[[], tuple[Any, Any]], library: Library, factory: Factory) -> Seen:
    """A gradient that does not fit, or a parameter that cannot be trained, is named by its path."""
    del library
    params, grads = ({"dense": {"kernel": leaf}} for leaf in leaves())

    def call():
        tx = factory(RATE)
        return tx.update(grads, tx.init(params), params)[0]

    return refused("kernel", call)


def bad_argument(name: str, value: Any, library: Library, factory: Factory) -> Seen | None:
    """A number that makes no sense is refused when the optimizer is made, by its name."""
    del library
    parameters = inspect.signature(factory).parameters
    if name not in parameters or (value is None and parameters[name].default is None):
        return None
    arguments = {"learning_rate": RATE} | {name: value}
    return refused(name, lambda: factory(**arguments))


def donation(library: Library, factory: Factory) -> Seen:
    """Parameters and state can be donated together, twice."""
    tx = factory(RATE)

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return library.module.apply_updates(params, updates), state

    params = {"b": jnp.ones(3), "w": jnp.ones(3)}
    grads = {"b": jnp.full(3, 0.1), "w": jnp.full(3, 0.1)}
    state = tx.init(params)
    for _ in range(2):
        params, state = step(params, state, grads)
    return Seen(finite(params), "accepted")


def equality(library: Library, factory: Factory) -> Seen:
    """The same call twice gives equal values with equal hashes, another rate gives another."""
    del library
    first, again, other = factory(RATE), factory(RATE), factory(2 * RATE)
    facts = first == again, hash(first) == hash(again), first != other
    return Seen(all(facts), f"equal {facts[0]}, same hash {facts[1]}, others differ {facts[2]}")


def pickling(library: Library, factory: Factory) -> Seen:
    """`pickle` brings it back equal."""
    del library
    tx = factory(RATE)
    try:
        back = pickle.loads(pickle.dumps(tx))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        return Seen(False, f"{type(error).__name__}: {error}")
    return Seen(back == tx, repr(back))


def representation(library: Library, factory: Factory) -> Seen:
    """Evaluating what it prints gives it back."""
    tx = factory(RATE)
    try:
        return Seen(eval(repr(tx), dict(vars(library.module))) == tx, repr(tx))
    except (SyntaxError, NameError):
        return Seen(False, repr(tx)[:60])


def rates_compiled(library: Library, factory: Factory) -> Seen:
    """Three learning rates through one jitted step compile once.

    The optimizer is an argument of the step: as a pytree if it can be, else as a static one.
    """
    traces = 0

    def step(tx, params, state, grads):
        nonlocal traces
        traces += 1
        updates, state = tx.update(grads, state, params)
        return library.module.apply_updates(params, updates), state

    params, grads = pair("float32", "float32")
    leaves = jax.tree.leaves(factory(RATE))
    as_tree = bool(leaves) and all(isinstance(leaf, (int, float, jax.Array)) for leaf in leaves)
    jitted = jax.jit(step, static_argnums=() if as_tree else (0,))
    for scale in (1, 2, 3):
        tx = factory(scale * RATE)
        jitted(tx, params, tx.init(params), grads)
    return Seen(traces == 1, f"{traces} compilations for 3 rates")


def rate_in_state(library: Library, factory: Factory) -> Seen:
    """The learning rate in force, here a schedule's, can be read from the state."""
    tx = factory(library.module.linear_schedule(1.0, 0.0, 4))
    params, grads = pair("float32", "float32")
    state = tx.init(params)
    for _ in range(2):
        _, state = tx.update(grads, state, params)
    found = [optax.tree.get(state, name) for name in ("lr", "learning_rate")]
    rates = [float(rate) for rate in found if rate is not None]
    return Seen(rates == [0.75], f"{rates}" if rates else "not in the state")


def one_count(library: Library, factory: Factory) -> Seen:
    """With a schedule as the rate, the state has one step count."""
    tx = factory(library.module.linear_schedule(1.0, 0.0, 4))
    params, grads = pair("float32", "float32")
    _, state = tx.update(grads, tx.init(params), params)
    counts = [int(leaf) for path, leaf in optax.tree.get_all_with_path(state, "count")]
    return Seen(counts == [1], f"counts {counts}")


def empty_chain(library: Library) -> Seen:
    """A chain of nothing passes gradients through."""
    tx = library.module.chain()
    params, grads = pair("float32", "float32")
    updates, _ = tx.update(grads, tx.init(params), params)
    return Seen(bool(jnp.array_equal(updates["w"], grads["w"])), f"{updates}")


def clip_overflow(library: Library) -> Seen:
    """Four float16 gradients of 300 have norm 600; clipped to 1 they are 0.5 each."""
    tx = library.module.clip_by_global_norm(1.0)
    grads = {"w": jnp.full(4, 300, "float16")}
    updates, _ = tx.update(grads, tx.init(grads), grads)
    got = np.asarray(updates["w"], np.float32)
    return Seen(np.allclose(got, 0.5, rtol=2e-3), f"{got}")


def clip_zero(library: Library) -> Seen:
    """Zero float16 gradients stay zero under a tiny threshold."""
    tx = library.module.clip_by_global_norm(1e-8)
    grads = {"w": jnp.zeros(4, "float16")}
    updates, _ = tx.update(grads, tx.init(grads), grads)
    got = np.asarray(updates["w"], np.float32)
    return Seen(not got.any(), f"{got}")


MIXED = (("bfloat16", "float32"), ("float32", "bfloat16"), ("float16", "float32"))

ROW_CHECKS: Mapping[str, Callable[[Library, Factory], Seen | None]] = {
    "bf16 parameters, numbers that change during the run: finite": changeable_numbers,
    "inside optax.inject_hyperparams, bf16 parameters: finite": inside_inject_hyperparams,
    **{
        f"zero gradient in {SHORT[dtype]}: finite": partial(zero_gradient, dtype)
        for dtype in ("float16", "bfloat16", "float32")
    },
    "5,000 bf16 steps: slots where float32 has them": stall,
    **{
        f"{SHORT[param]} parameters, {SHORT[grad]} gradients: {what}": partial(check, param, grad)
        for param, grad in MIXED
        for what, check in (
            ("state keeps its types", state_types),
            ("compiles once", one_compilation),
            ("lax.scan accepts", scan),
        )
    },
    "None leaves pass through": none_leaf,
    "missing gradient: error names the leaf": partial(bad_leaf, lambda: (jnp.ones(2), None)),
    "gradient of another shape: error names the leaf": partial(
        bad_leaf, lambda: (jnp.ones((4, 2)), jnp.ones((1, 2)))
    ),
    "integer parameter: error names the leaf": partial(
        bad_leaf, lambda: (jnp.ones(2, int), np.zeros(2, jax.dtypes.float0))
    ),
    "learning_rate=None is refused": partial(bad_argument, "learning_rate", None),
    "learning_rate=-0.001 is refused": partial(bad_argument, "learning_rate", -1e-3),
    "learning_rate=nan is refused": partial(bad_argument, "learning_rate", float("nan")),
    "b1=1.5 is refused": partial(bad_argument, "b1", 1.5),
    "donating parameters and state": donation,
    "equal and hashable": equality,
    "pickles": pickling,
    "prints as the call that makes it": representation,
    "three rates compile once": rates_compiled,
    "the rate in force is in the state": rate_in_state,
    "one step count": one_count,
}

LIBRARY_CHECKS: Mapping[str, Callable[[Library], Seen]] = {
    "chain(): passes gradients through": empty_chain,
    "clip_by_global_norm of large f16 gradients": clip_overflow,
    "clip_by_global_norm of zero f16 gradients": clip_zero,
}


def finding(row: str, check: str, run: Callable[[], Seen | None]) -> Finding | None:
    """Run one check; whatever it raises is a failure, None means it does not apply."""
    try:
        seen = run()
    except Exception as error:
        seen = Seen(False, f"{type(error).__name__}: {error}")
    if seen is None:
        return None
    return Finding(row, check, seen.ok, " ".join(seen.words.split())[:200])


def measure(
    library: Library,
    rows: Iterable[tuple[str, Factory]],
    checks: Iterable[str] = tuple(ROW_CHECKS),
) -> Iterator[Finding]:
    """Every check on every row; `factory(learning_rate)` makes the row's optimizer."""
    checks = tuple(checks)
    for name, factory in rows:
        for check in checks:
            found = finding(name, check, partial(ROW_CHECKS[check], library, factory))
            if found is not None:
                yield found


def measure_library(library: Library) -> list[Finding]:
    """The checks that concern no optimizer in particular."""
    name = library.module.__name__
    found = (finding(name, check, partial(run, library)) for check, run in LIBRARY_CHECKS.items())
    return [one for one in found if one is not None]


OPTAX = Library(optax, inject)
OPTAX_NAMES = """
adabelief adadelta adafactor adagrad adam adamax adamaxw adamw adan amsgrad fromage lamb lars lion
nadam nadamw novograd optimistic_adam_v2 optimistic_gradient_descent radam rmsprop rprop sgd
sign_sgd signum sm3 yogi
"""


def optax_rows(names: Iterable[str] | None = None) -> list[tuple[str, Factory]]:
    """optax's optimizers of these names, by default all that need no more than a gradient."""
    names = OPTAX_NAMES.split() if names is None else names
    return [(name, getattr(optax, name)) for name in names if hasattr(optax, name)]


def as_arrays(factory: Factory) -> optax.GradientTransformation:
    """funcopt's way to numbers that change during a run: they are the leaves of the optimizer."""
    return jax.tree.map(jnp.asarray, factory(RATE))


FUNCOPT = Library(funcopt, as_arrays)


def funcopt_rows() -> list[tuple[str, Factory]]:
    """The algorithms of the catalogue that step by the rate they are given, as optax's above do."""
    return [
        (row.name, row.factory)
        for row in catalog.ROWS
        if not (row.own_rate or row.fixed_rate or row.looks_back or row.wraps or row.needs_hessian)
    ]
