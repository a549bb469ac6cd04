"""What every transformation says where a state is of another one, or something is missing."""

import re


def called(state_class: type) -> str:
    """What users call that of which `state_class` is the class.

    >>> called(type("ClipByGlobalNorm", (), {}))
    'clip_by_global_norm'
    """
    return re.sub(r"(?<!^)(?=[A-Z])", "_", state_class.__name__).lower()


def foreign_state(name: str, got: str, expected: str) -> ValueError:
    article = "an" if expected[0] in "AEIOU" else "a"
    return ValueError(
        f"{name} got a {got} as its state, expected {article} {expected}: `tx.init(params)` makes "
        "one, and the order of arguments is `tx.update(grads, state, params)`."
    )


def no_parameters(name: str) -> ValueError:
    return ValueError(
        f"{name} needs the parameters: call `tx.update(grads, state, params)`, not "
        "`tx.update(grads, state)`."
    )


def no_hessian(name: str) -> ValueError:
    return ValueError(
        f"{name} needs an estimate of the Hessian's diagonal: call `tx.update(grads, state, "
        "params, hessian_diagonal=estimate)` with what `funcopt.hutchinson_diagonal` or "
        "`funcopt.gauss_newton_bartlett_diagonal` gives, at the first step and at every tenth or "
        "so, and with `hessian_diagonal=None` at the others."
    )


def no_value(name: str) -> ValueError:
    return ValueError(
        f"{name} needs the loss at which the gradients were taken: call "
        "`tx.update(grads, state, params, value=loss)`; `jax.value_and_grad` gives both."
    )
