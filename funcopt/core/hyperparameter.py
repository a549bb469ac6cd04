"""What a type checker takes for a hyperparameter, in a call and in the field of a rule.

A call may give a number, an array of them, or a function of the step. A rule's `update` reads its
fields as the numbers in force at the step, so that `b1: DecayRate = 0.9` takes all of these where a
rule is made, and is an array where it is read: each of the protocols is a descriptor, too, and of
that a type checker asks only when it reads a field.
"""

from typing import TYPE_CHECKING, Any, Protocol

import jax
import numpy as np
from jax.typing import ArrayLike

if TYPE_CHECKING:

    class _ReadAsArray:
        def __get__(self, rule: object, owner: Any) -> jax.Array: ...

    # The members of a base that is no protocol are not asked for, which is meant.
    class ANumber(_ReadAsArray, Protocol):  # pyright: ignore[reportGeneralTypeIssues]
        def __float__(self) -> float: ...

    class AFunctionOfTheStep(_ReadAsArray, Protocol):  # pyright: ignore[reportGeneralTypeIssues]
        def __call__(self, step: Any, /) -> ArrayLike: ...

    Numeric = float | np.floating | np.integer | np.ndarray | jax.Array
    Hyperparameter = ANumber | AFunctionOfTheStep
else:
    # What an argument is, its check says in words: it is no matter of its type alone.
    Numeric = Hyperparameter = Any
