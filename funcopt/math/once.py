"""What many loops read is computed once.

XLA repeats what is cheap, such as comparing and selecting, in every loop that reads it: the whole
decision of a guard three times for each parameter, which is the larger part of what there is to
compile. A root it does not repeat. (`optimization_barrier` is gone before XLA fuses on a CPU.)
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool


def computed_once(flag: Bool[Array, ""]) -> Bool[Array, ""]:
    """The flag, of which every loop repeats no more than one comparison."""
    return jax.lax.sqrt(flag.astype(jnp.float32)) > 0
