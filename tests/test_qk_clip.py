"""`qk_clip`: against a program in PyTorch, and the logits of attention itself."""

from __future__ import annotations

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import funcopt
from tests.golden import HERE

FROZEN = json.loads((HERE / "qk_clip.json").read_text())
RANDOM = np.random.default_rng(3)


@pytest.mark.parametrize("case", FROZEN["cases"], ids=lambda case: f"{case['threshold']:g}")
def test_it_is_that_of_pytorch_optimizer(case):
    params = {role: jnp.asarray(np.array(x), jnp.float32) for role, x in FROZEN["start"].items()}
    ours = funcopt.qk_clip(
        params, jnp.array(FROZEN["logits"]), case["threshold"], case["alpha"],
        query="^query$", key="^key$", query_rotary="^query_rotary$", head_axis=0,
    )  # fmt: skip
    for role, theirs in case["after"].items():
        np.testing.assert_allclose(ours[role], np.array(theirs), rtol=3e-7)
    np.testing.assert_array_equal(ours["key_rotary"], params["key_rotary"])


class Attention(nn.Module):
    """Flax's attention, whose largest logits are collected."""

    @nn.compact
    def __call__(self, x):
        def told(query, key, *rest, **kwargs):
            logits = jnp.einsum("qhd,khd->hqk", query, key) / query.shape[-1] ** 0.5
            self.sow("told", "logits", jnp.max(logits, (1, 2)))
            return nn.dot_product_attention(query, key, *rest, **kwargs)

        return nn.MultiHeadDotProductAttention(4, qkv_features=8, attention_fn=told)(x)


def test_logits_of_attention_are_at_the_threshold_afterwards():
    x = 9 * jnp.asarray(RANDOM.standard_normal((5, 8)), jnp.float32)
    model = Attention()
    params = model.init(jax.random.key(0), x)["params"]
    key = params["MultiHeadDotProductAttention_0"]["key"]
    key["bias"] = key["bias"] + 1.0  # biases are a part of queries and keys

    def largest(params):
        _, told = model.apply({"params": params}, x, mutable="told")
        return np.asarray(told["told"]["logits"][0])

    before = largest(params)
    threshold = float(np.sort(before)[1:3].mean())
    after = largest(jax.jit(funcopt.qk_clip)(params, before, threshold))
    np.testing.assert_allclose(after, np.minimum(before, threshold), rtol=1e-5)
    assert np.sum(before > threshold) == 2


def test_of_one_step_of_muon():
    """MuonClip: what stands after Muon's step is clipped, and the training goes on."""
    params = {name: {"kernel": jnp.ones((4, 2, 3))} for name in ("query", "key", "value")}
    tx = funcopt.muon(0.1, matrices={"kernel": (0, (1, 2))})

    @jax.jit
    def step(params, state, logits):
        grads = jax.tree.map(jnp.ones_like, params)
        params, state = funcopt.step(tx, grads, state, params)
        return funcopt.qk_clip(params, logits), params, state

    after, moved, _ = step(params, tx.init(params), jnp.array([10.0, 400.0]))
    factors = jnp.array([1.0, 0.5])[None, :, None]
    for name in ("query", "key"):
        np.testing.assert_allclose(after[name]["kernel"], moved[name]["kernel"] * factors)
    np.testing.assert_array_equal(after["value"]["kernel"], moved["value"]["kernel"])


def test_stacked_layers_and_several_attentions():
    kernel = jnp.asarray(RANDOM.standard_normal((3, 4, 2, 5)), jnp.float32)
    logits = jnp.array([[50.0, 400.0], [100.0, 1.0], [900.0, 200.0]])
    params = {"query": kernel, "key": kernel}
    stacked = funcopt.qk_clip(params, logits)
    for layer, own in enumerate(logits):
        alone = funcopt.qk_clip({"query": kernel[layer], "key": kernel[layer]}, own)
        np.testing.assert_array_equal(stacked["query"][layer], alone["query"])
        np.testing.assert_array_equal(stacked["key"][layer], alone["key"])
    two = {"a": params, "b": params, "c": params}
    clipped = funcopt.qk_clip(two, {"^a/": logits, "^b/": logits[::-1]})
    jax.tree.map(np.testing.assert_array_equal, clipped["a"], stacked)
    jax.tree.map(np.testing.assert_array_equal, clipped["b"], funcopt.qk_clip(params, logits[::-1]))
    jax.tree.map(np.testing.assert_array_equal, clipped["c"], params)


def test_fused_axes_are_as_split_ones():
    kernel = jnp.asarray(RANDOM.standard_normal((4, 2, 3)), jnp.float32)
    logits = jnp.array([250.0, 3.0])
    split = funcopt.qk_clip({"query": kernel, "key": kernel}, logits)
    fused = jax.tree.map(lambda x: x.reshape(4, 6), {"query": kernel, "key": kernel})
    fused = funcopt.qk_clip(fused, logits, head_axis=-1)
    np.testing.assert_array_equal(fused["key"].reshape(4, 2, 3), split["key"])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_what_is_not_above_the_threshold_keeps_every_bit(dtype):
    kernel = jnp.asarray(RANDOM.standard_normal((4, 4, 3)), dtype)
    logits = jnp.array([99.0, 100.0, np.nan, np.inf])
    for x in jax.tree.leaves(funcopt.qk_clip({"query": kernel, "key": kernel}, logits)):
        assert x.dtype == dtype
        np.testing.assert_array_equal(x, kernel)


PARAMS = {"query": jnp.ones((4, 2, 3)), "key": jnp.ones((4, 2, 3))}
LOGITS = jnp.ones(2)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"threshold": 0.0}, ValueError, "threshold must be a finite number > 0, got 0.0"),
        ({"threshold": "100"}, TypeError, "threshold must be a finite number > 0, got '100'"),
        ({"alpha": 1.5}, ValueError, r"alpha must be a number in \[0, 1\], got 1.5"),
        ({"query": "q_proj"}, ValueError, "'q_proj' is found in no path.*key, query"),
        ({"key": "("}, ValueError, r"'\(' is not a regular expression"),
        ({"max_logits": {"block": LOGITS}}, ValueError, "'block' is found in no path"),
        ({"max_logits": jnp.ones(3)}, ValueError, r"shape \(4, 2, 3\), whose axis 1 .* 3 heads"),
        ({"max_logits": jnp.ones((3, 2))}, ValueError, "2 heads of 3 layers"),
        ({"max_logits": jnp.ones(())}, ValueError, r"an array \[heads\] or \[layers, heads\]"),
        ({"max_logits": np.array(["400"])}, TypeError, "max_logits must be an array of numbers"),
        ({"max_logits": {"query": np.array(["400"])}}, TypeError, r"max_logits\['query'\] must be"),
        ({"head_axis": 3}, ValueError, r"'key' has the shape \(4, 2, 3\), which has no axis 3"),
    ],
)
def test_what_is_refused(given, error, words):
    with pytest.raises(error, match=words):
        funcopt.qk_clip(PARAMS, **{"max_logits": LOGITS, **given})


def test_keys_that_queries_share_are_told_what_to_do():
    shared = {"query": jnp.ones((4, 4, 3)), "key": jnp.ones((4, 2, 3))}
    with pytest.raises(ValueError, match=r"'key'.*4 heads.*take alpha=1.0 and key=None"):
        funcopt.qk_clip(shared, jnp.ones(4))
    logits = jnp.array([50.0, 200.0, 100.0, 400.0])
    clipped = funcopt.qk_clip(shared, logits, alpha=1.0, key=None)
    np.testing.assert_allclose(clipped["query"][0, :, 0], [1, 0.5, 1, 0.25])
    np.testing.assert_array_equal(clipped["key"], shared["key"])
