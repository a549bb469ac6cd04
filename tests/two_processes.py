"""A training on all devices of one or two processes, which saves itself and goes on from there.

    python -m tests.two_processes train RANK PORT FOLDER    one of two processes, a device each
    python -m tests.two_processes resume FOLDER             one process, eight devices

`train` never ends: it is there to be killed. It writes a file when the checkpoint is complete.
`resume` trains once without a break, once from the checkpoint, and prints how far the two are
apart.
"""

import itertools
import json
import sys
from pathlib import Path

import jax
import numpy as np

SAVED, END = 10, 16
BROKEN = 7  # the step in whose batch is a NaN, on the second process only
FEATURES = 16


def batch(step):
    """The rows of all devices at one step, and what is to be learnt from them."""
    random = np.random.default_rng(step)
    x = random.standard_normal((32, FEATURES)).astype(np.float32)
    y = np.tanh(x @ np.linspace(-1, 1, FEATURES, dtype=np.float32))
    if step == BROKEN:
        y[-1] = np.nan
    return x, y


class Training:
    """What both processes, and the one that goes on, have in common: the program and its places."""

    def __init__(self):
        import jax.numpy as jnp
        from jax.sharding import AxisType, NamedSharding
        from jax.sharding import PartitionSpec as P

        import funcopt

        self.mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
        self.rows, everywhere = NamedSharding(self.mesh, P("data")), NamedSharding(self.mesh, P())
        rate = funcopt.warmup_cosine_decay_schedule(0.0, 0.02, warmup_steps=4, decay_steps=END)
        tx = funcopt.guard(
            funcopt.chain(
                funcopt.clip_by_global_norm(1.0),
                funcopt.adamw(rate, weight_decay=0.01, mask="!bias"),
            )
        )

        def init():
            keys = jax.random.split(jax.random.key(0))
            return {
                "hidden": 0.3 * jax.random.normal(keys[0], (FEATURES, 8)),
                "out": 0.3 * jax.random.normal(keys[1], (8,)),
                "bias": jnp.zeros(()),
            }

        def loss(params, x, y):
            predicted = jnp.tanh(x @ params["hidden"]) @ params["out"] + params["bias"]
            return jnp.mean((predicted - y) ** 2)

        def step(params, state, x, y):
            value, grads = jax.value_and_grad(loss)(params, x, y)
            return funcopt.step(tx, grads, state, params, value=value)

        param_places = {"hidden": self.rows, "out": self.rows, "bias": everywhere}
        abstract = jax.eval_shape(init)
        state_places = funcopt.state_shardings(tx, abstract, param_places)
        self.places = {"params": param_places, "state": state_places}
        self.shapes = {"params": abstract, "state": jax.eval_shape(tx.init, abstract)}
        self.init = jax.jit(init, out_shardings=param_places)
        self.tx_init = jax.jit(tx.init, out_shardings=state_places)
        self.step = jax.jit(step, out_shardings=(param_places, state_places), donate_argnums=(0, 1))

    def start(self):
        params = self.init()
        return {"params": params, "state": self.tx_init(params)}

    def steps(self, at, numbers):
        """Everything after the steps whose `numbers` are given, one after the other."""
        for number in numbers:
            mine = [
                np.split(part, jax.process_count())[jax.process_index()] for part in batch(number)
            ]
            data = (jax.make_array_from_process_local_data(self.rows, part) for part in mine)
            params, state = self.step(at["params"], at["state"], *data)
            at = jax.block_until_ready({"params": params, "state": state})
            yield number, at

    def target(self):
        """What a checkpoint is to be read as: shapes, types, and places on this mesh."""
        return jax.tree.map(
            lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
            self.shapes,
            self.places,
        )


def train(rank, port, folder):
    jax.config.update("jax_num_cpu_devices", 1)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"127.0.0.1:{port}", num_processes=2, process_id=rank)
    import orbax.checkpoint as ocp

    assert (jax.process_count(), jax.device_count()) == (2, 2)
    training = Training()
    with ocp.CheckpointManager(folder / "checkpoints") as manager:
        for number, at in training.steps(training.start(), itertools.count()):
            if number + 1 == SAVED:
                manager.save(number + 1, args=ocp.args.StandardSave(at))
                manager.wait_until_finished()
                (folder / f"saved-{rank}").touch()


def resume(folder):
    jax.config.update("jax_num_cpu_devices", 8)
    import orbax.checkpoint as ocp

    import funcopt

    training = Training()
    *_, (_, whole) = training.steps(training.start(), range(END))
    with ocp.CheckpointManager(folder / "checkpoints") as manager:
        saved = manager.latest_step()
        restored = manager.restore(saved, args=ocp.args.StandardRestore(training.target()))
    assert jax.tree.map(lambda x: x.sharding, restored) == training.places
    *_, (_, resumed) = training.steps(restored, range(saved, END))
    pairs = zip(*map(jax.tree.leaves, (whole, resumed)), strict=True)
    apart = max(float(abs(np.subtract(a, b, dtype=np.float32)).max()) for a, b in pairs)
    way = np.asarray(whole["params"]["hidden"] - training.init()["hidden"])
    said = {
        "devices": jax.device_count(),
        "saved": saved,
        "apart": apart,
        "moved": float(abs(way).max()),
        "whole": {name: float(x) for name, x in funcopt.metrics(whole["state"]).items()},
        "resumed": {name: float(x) for name, x in funcopt.metrics(resumed["state"]).items()},
        "compilations": training.step._cache_size(),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    if sys.argv[1] == "train":
        train(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
    else:
        resume(Path(sys.argv[2]))
