"""optax's algorithms by funcopt: called as optax's, over optax's states."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import funcopt

from ..core.arguments import is_number, is_tracer
from ..core.transformation import GradientTransformation
from ..core.value import value_factory
from .layout import InOptaxState


def _signed(x: Any) -> Any:
    """A number that may be negative, as the rate of a gradient ascent is: funcopt takes negative
    numbers from schedules only, since elsewhere one is a slip.
    """
    if is_number(x) and not is_tracer(x) and jnp.ndim(x) == 0 and float(x) < 0:
        return funcopt.constant_schedule(float(x))
    return x


def _flags(mask: Any) -> Any:
    """A mask whose flags may be written 0 and 1."""
    if mask is None or callable(mask) or isinstance(mask, str):
        return mask
    return jax.tree.map(lambda x: bool(x) if isinstance(x, int | np.integer) else x, mask)


CONVERSIONS = {
    "learning_rate": _signed,
    "weight_decay": _signed,
    "mask": _flags,
    "trust_ratio_mask": _flags,
}


def _mask_for_optax(x: Any) -> Any:
    """A mask that optax takes in place of a pattern of funcopt's: in its state, all are alike."""
    return (lambda params: jax.tree.map(lambda _: True, params)) if isinstance(x, str) else x


def in_optax_state(
    name: str,
    ours: Callable,
    *,
    renamed: dict[str, str] | None = None,
    left: tuple[str, ...] = (),
    only: Callable[[dict[str, Any]], bool] = lambda _: True,
    none: dict[str, Any] | None = None,
    module: Any = optax,
    **always: Any,
) -> Callable[..., GradientTransformation]:
    """optax's function of that name, computed by funcopt's `ours`.

    Args:
        name: of a factory in optax.
        ours: one whose arguments have the same names and meanings.
        renamed: what arguments are called in funcopt, where that is another name.
        left: arguments that funcopt has not, since `always` says what they mean.
        only: whether funcopt has what these arguments ask for; where not, it is optax's.
        none: what None means of arguments, by their names in optax.
        module: the one of optax that it is in.
        always: arguments of `ours` beyond those of optax's.
    """
    theirs = getattr(module, name)
    signature = inspect.signature(theirs)

    def function(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = bound.arguments
        if not only(given):
            return theirs(*args, **kwargs)
        masks = {name: _mask_for_optax(x) for name, x in given.items() if name.endswith("mask")}
        own: dict[str, Any] = {**always}
        for argument, x in given.items():
            if argument not in left:
                x = (none or {}).get(argument) if x is None else x
                argument = (renamed or {}).get(argument, argument)
                own[argument] = CONVERSIONS.get(argument, lambda x: x)(x)
        return InOptaxState(ours(**own), theirs(**{**given, **masks}))

    function.__name__ = function.__qualname__ = name
    function.__module__ = "funcopt.optax"
    function.__doc__ = ours.__doc__
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    vars(function)["__signature__"] = inspect.Signature(plain)
    factory = value_factory(GradientTransformation, function)
    vars(factory)["shown"] = f"{module.__name__}.{name}"
    return factory


def _has_rate(given: dict[str, Any]) -> bool:
    return given["learning_rate"] is not None


CORRECTIONS = ("bias_correction_mu", "bias_correction_nu")


def _corrects(given: dict[str, Any]) -> bool:
    return all(given[name] is True for name in CORRECTIONS)


POWER = inspect.signature(optax.scale_by_factored_rms).parameters["decay_rate_fn"].default
CORRECTED: dict[str, Any] = {"left": CORRECTIONS, "only": _corrects}

adabelief = in_optax_state("adabelief", funcopt.adabelief)
adadelta = in_optax_state(
    "adadelta", funcopt.adadelta, renamed={"weight_decay_mask": "mask"}, only=_has_rate
)
adafactor = in_optax_state(
    "adafactor",
    funcopt.adafactor,
    renamed={"weight_decay_rate": "weight_decay", "weight_decay_mask": "mask"},
    none={"learning_rate": 1.0, "weight_decay_rate": 0.0},
)
adagrad = in_optax_state("adagrad", funcopt.adagrad)
adam = in_optax_state("adam", funcopt.adam)
adamax = in_optax_state("adamax", funcopt.adamax)
adamaxw = in_optax_state("adamaxw", funcopt.adamaxw)
adamw = in_optax_state("adamw", funcopt.adamw)
adan = in_optax_state("adan", funcopt.adan, variant="optax")
adaptive_grad_clip = in_optax_state("adaptive_grad_clip", funcopt.adaptive_grad_clip)
add_decayed_weights = in_optax_state("add_decayed_weights", funcopt.add_decayed_weights)
amsgrad = in_optax_state("amsgrad", funcopt.amsgrad, **CORRECTED)
clip = in_optax_state("clip", funcopt.clip)
clip_by_block_rms = in_optax_state("clip_by_block_rms", funcopt.clip_by_block_rms)
clip_by_global_norm = in_optax_state("clip_by_global_norm", funcopt.clip_by_global_norm)
fromage = in_optax_state("fromage", funcopt.fromage)
keep_params_nonnegative = in_optax_state("keep_params_nonnegative", funcopt.keep_params_nonnegative)
lamb = in_optax_state("lamb", funcopt.lamb)
lars = in_optax_state("lars", funcopt.lars, renamed={"weight_decay_mask": "mask"}, variant="optax")
lion = in_optax_state("lion", funcopt.lion)
nadam = in_optax_state("nadam", funcopt.adam)
nadamw = in_optax_state("nadamw", funcopt.adamw)
normalize_by_update_norm = in_optax_state(
    "normalize_by_update_norm", funcopt.normalize_by_update_norm
)
novograd = in_optax_state("novograd", funcopt.novograd)
optimistic_adam_v2 = in_optax_state("optimistic_adam_v2", funcopt.optimistic_adam_v2)
optimistic_gradient_descent = in_optax_state(
    "optimistic_gradient_descent", funcopt.optimistic_gradient_descent
)
polyak_sgd = in_optax_state("polyak_sgd", funcopt.polyak_sgd)
radam = in_optax_state("radam", funcopt.radam)
rmsprop = in_optax_state("rmsprop", funcopt.rmsprop)
scale = in_optax_state("scale", funcopt.scale)
scale_by_adadelta = in_optax_state("scale_by_adadelta", funcopt.scale_by_adadelta)
scale_by_adam = in_optax_state("scale_by_adam", funcopt.scale_by_adam)
scale_by_adamax = in_optax_state("scale_by_adamax", funcopt.scale_by_adamax)
scale_by_adan = in_optax_state("scale_by_adan", funcopt.scale_by_adan, variant="optax")
scale_by_amsgrad = in_optax_state(
    "scale_by_amsgrad", funcopt.scale_by_amsgrad, left=CORRECTIONS, only=_corrects
)
scale_by_belief = in_optax_state("scale_by_belief", funcopt.scale_by_belief)
scale_by_factored_rms = in_optax_state(
    "scale_by_factored_rms",
    funcopt.scale_by_factored_rms,
    left=("decay_rate_fn",),
    only=lambda given: given["decay_rate_fn"] is POWER,
)
scale_by_learning_rate = in_optax_state(
    "scale_by_learning_rate", funcopt.scale_by_learning_rate, only=_has_rate
)
scale_by_lion = in_optax_state(
    "scale_by_lion",
    funcopt.scale_by_lion,
    left=("mode", "smooth_beta"),
    only=lambda given: given["mode"] == "hard",
)
scale_by_optimistic_gradient = in_optax_state(
    "scale_by_optimistic_gradient", funcopt.scale_by_optimistic_gradient
)
scale_by_radam = in_optax_state("scale_by_radam", funcopt.scale_by_radam)
scale_by_rms = in_optax_state("scale_by_rms", funcopt.scale_by_rms)
scale_by_rss = in_optax_state("scale_by_rss", funcopt.scale_by_rss)
scale_by_schedule = in_optax_state(
    "scale_by_schedule", funcopt.scale, renamed={"step_size_fn": "step_size"}
)
scale_by_sign = in_optax_state("scale_by_sign", funcopt.scale_by_sign)
scale_by_stddev = in_optax_state("scale_by_stddev", funcopt.scale_by_stddev)
scale_by_trust_ratio = in_optax_state("scale_by_trust_ratio", funcopt.scale_by_trust_ratio)
sgd = in_optax_state("sgd", funcopt.sgd)
sign_sgd = in_optax_state("sign_sgd", funcopt.sign_sgd)
signum = in_optax_state("signum", funcopt.signum)
trace = in_optax_state("trace", funcopt.trace)
yogi = in_optax_state("yogi", funcopt.yogi)


def global_norm(updates: Any) -> jax.Array:
    """The Euclidean norm of all leaves together: `funcopt.global_norm`."""
    return funcopt.global_norm(updates)


BY_NAME = {
    name: x for name, x in globals().items() if getattr(x, "shown", "") == f"optax.{name}"
} | {"chain": funcopt.chain, "global_norm": global_norm}
"""What is funcopt's in the name space of optax."""
