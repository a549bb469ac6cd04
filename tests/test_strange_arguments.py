"""What is no argument at all is refused by the argument's name, whatever it is."""

import inspect

import jax.numpy as jnp
import numpy as np
import pytest

import funcopt

STRANGE = {
    "text in an array": np.array("a"),
    "an array of objects": np.array(None),
    "an array as a dtype": jnp.array(0.1),
    "a number as a dtype": np.float16(0.1),
    "two numbers": np.array([1, 2]),
    "a set": {1},
    "bytes": b"x",
    "an integer that no float holds": 10**400,
    "a class": dict,
    "a function of three": lambda a, b, c: True,
    "a function of none": lambda: True,
}
ARGUMENTS = [
    (funcopt.adam, "learning_rate"),
    (funcopt.adam, "b1"),
    (funcopt.adam, "mu_dtype"),
    (funcopt.adam, "storage"),
    (funcopt.amsgrad, "variant"),
    (funcopt.guard, "patience"),
    (funcopt.guard, "check_value"),
    (funcopt.clip_by_global_norm, "max_norm"),
    (funcopt.cosine_decay_schedule, "decay_steps"),
    (funcopt.schedule_free, "state_dtype"),
    (funcopt.adamw, "mask"),
    (funcopt.mechanize, "num_betas"),
    (funcopt.multistep_decay, "milestones"),
]
FINE = {  # a batch of settings
    ("two numbers", "learning_rate"),
    ("a number as a dtype", "learning_rate"),
    ("an array as a dtype", "learning_rate"),
    ("an array as a dtype", "b1"),
    ("a number as a dtype", "b1"),
    ("two numbers", "max_norm"),
    ("an array as a dtype", "max_norm"),
    ("a number as a dtype", "max_norm"),
    ("two numbers", "decay_steps"),
    ("two numbers", "patience"),
    ("two numbers", "milestones"),
    ("an integer that no float holds", "decay_steps"),
    ("an integer that no float holds", "patience"),
}


CASES = [
    (factory, name, what)
    for factory, name in ARGUMENTS
    for what in STRANGE
    if (what, name) not in FINE
]


@pytest.mark.parametrize(
    ("factory", "name", "what"), CASES, ids=lambda x: getattr(x, "__name__", x)
)
def test_the_argument_is_named(factory, name, what):
    required = {
        "learning_rate": 0.1,
        "inner": funcopt.sgd(0.1),
        "base_optimizer": funcopt.sgd(0.1),
        "max_norm": 1.0,
        "init_value": 1.0,
        "decay_steps": 10,
    }
    parameters = inspect.signature(factory).parameters
    arguments = {key: x for key, x in required.items() if key in parameters}
    with pytest.raises((TypeError, ValueError), match=f"{factory.__name__}: {name}"):
        factory(**arguments | {name: STRANGE[what]})
