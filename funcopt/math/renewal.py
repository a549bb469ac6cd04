"""What is made anew in few steps, and costs nothing in the others.

XLA copies what a branch of `lax.switch` returns as it was given: of large arrays, the branch of the
steps in which nothing is done costs as much as a product of matrices. A loop that does not run
leaves them where they are.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
from jaxtyping import Array, Int

from .varying import varying_along, varying_axes

K = TypeVar("K")
G = TypeVar("G")
A = TypeVar("A")


def renewed(
    which: Int[Array, ""],
    renewals: Sequence[Callable[[K, G], K]],
    kept: K,
    given: G,
    after: A,
) -> tuple[K, A]:
    """`kept` where `which` is 0, else `renewals[which - 1](kept, given)`; and `after` as it is.

    Nothing is renewed before `after` is there: what that is made of is then not copied. Renewals
    close over nothing that is traced, and return what has the types of `kept`. Numbers of Python
    in `given` stay that.
    """
    leaves, structure = jax.tree.flatten(given)
    known = [None if isinstance(x, jax.Array) else x for x in leaves]

    def again(number: Array, kept: K, arrays: Sequence[Array]) -> K:
        fill = iter(arrays)
        given = jax.tree.unflatten(structure, [next(fill) if x is None else x for x in known])
        branches = [lambda kept, renewal=renewal: renewal(kept, given) for renewal in renewals]
        return jax.lax.switch(number, branches, kept)

    @jax.custom_jvp
    def looped(which: Array, kept: K, arrays: Sequence[Array], after: A) -> tuple[K, A]:
        def once(loop: tuple[Array, K, A]) -> tuple[Array, K, A]:
            number, kept, after = loop
            # what is only passed on would be taken out of the loop
            after = jax.lax.optimization_barrier(after)
            return 0 * number, again(number - 1, kept, arrays), after

        return jax.lax.while_loop(lambda loop: loop[0] > 0, once, (which, kept, after))[1:]

    @looped.defjvp
    def derivative(primals: Any, tangents: Any) -> Any:
        def branched(which: Array, kept: K, arrays: Sequence[Array], after: A) -> tuple[K, A]:
            return jax.lax.cond(
                which > 0, lambda: again(which - 1, kept, arrays), lambda: kept
            ), after

        return jax.jvp(branched, primals, tangents)  # a loop has none backwards

    arrays = [x for x in leaves if isinstance(x, jax.Array)]
    axes = varying_axes(*arrays, *jax.tree.leaves(kept))
    kept = jax.tree.map(lambda x: varying_along(x, axes), kept)
    return looped(which, kept, arrays, after)
