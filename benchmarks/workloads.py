"""The parameter trees that the benchmarks run on, as shapes; float32 throughout."""

from collections.abc import Mapping
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

Shapes = Mapping[str, tuple[int, ...]]


def gpt2_small() -> Shapes:
    """The 148 leaves of GPT-2 small: 12 blocks, width 768, tied embedding, 124,439,808 numbers."""
    width, vocabulary, context = 768, 50257, 1024
    shapes: dict[str, tuple[int, ...]] = {"wte": (vocabulary, width), "wpe": (context, width)}
    block = {
        "ln_1/scale": (width,),
        "ln_1/bias": (width,),
        "attn/qkv/kernel": (width, 3 * width),
        "attn/qkv/bias": (3 * width,),
        "attn/out/kernel": (width, width),
        "attn/out/bias": (width,),
        "ln_2/scale": (width,),
        "ln_2/bias": (width,),
        "mlp/up/kernel": (width, 4 * width),
        "mlp/up/bias": (4 * width,),
        "mlp/down/kernel": (4 * width, width),
        "mlp/down/bias": (width,),
    }
    for layer in range(12):
        shapes |= {f"h{layer:02d}/{name}": shape for name, shape in block.items()}
    return shapes | {"ln_f/scale": (width,), "ln_f/bias": (width,)}


def stacked_blocks(layers: int) -> Shapes:
    """The blocks of GPT-2 small as scanned models keep them: one leaf for a role, layers first."""
    return {
        name.removeprefix("h00/"): (layers, *shape)
        for name, shape in gpt2_small().items()
        if name.startswith("h00/")
    }


def mlp(*widths: int) -> Shapes:
    """A kernel and a bias for each layer of a multilayer perceptron."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (inputs, outputs) in enumerate(pairwise(widths)):
        shapes |= {f"{layer}/kernel": (inputs, outputs), f"{layer}/bias": (outputs,)}
    return shapes


def squares(leaves: int) -> Shapes:
    return {f"w{i:02d}": (1024, 1024) for i in range(leaves)}


WORKLOADS: Mapping[str, Shapes] = {
    "one_64m": {"w": (64 * 2**20,)},
    "gpt2_small": gpt2_small(),
    "32_x_1024x1024": squares(32),
    "1000_x_3500": {f"w{i:03d}": (3500,) for i in range(1000)},
    "mlp": mlp(64, 128, 128, 10),  # the size of network that the handwritten digits need
}


def elements(shapes: Shapes) -> int:
    """How many numbers the tree holds."""
    return sum(int(np.prod(shape)) for shape in shapes.values())


def arrays(shapes: Shapes, seed: int, scale: float) -> dict[str, jax.Array]:
    """Normal float32 arrays of standard deviation `scale`, which jax owns and may donate."""
    generator = np.random.default_rng(seed)
    return {
        name: jnp.array(scale * generator.standard_normal(shape, dtype=np.float32))
        for name, shape in shapes.items()
    }


def abstract(shapes: Shapes) -> dict[str, jax.ShapeDtypeStruct]:
    """The same tree without memory."""
    return {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
