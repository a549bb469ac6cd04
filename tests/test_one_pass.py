"""A step in one pass over memory on the CPU, which XLA makes only if it is told at its start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import funcopt
from funcopt.core import one_pass

ROOT = Path(__file__).parents[1]


def process(*words: str, **env: str) -> subprocess.CompletedProcess:
    command = [sys.executable, *words]
    env = os.environ | {"XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"} | env
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_a_step_is_one_pass_and_its_numbers_are_the_same():
    done = process("-m", "tests.one_pass")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for name, apart in said["apart"].items():  # contracted products round otherwise
        assert all(x < 1e-6 for x in apart), (name, apart)
    # gradient, parameter and two slots are read, three of them written; a norm reads the gradient,
    # and so would its rescue from overflow, which does not run
    assert said["bytes"]["adamw"] < 28.01
    assert said["bytes"]["clipped"] < 36.01
    assert said["bytes"]["guarded"] < 36.01


def test_it_is_refused_when_jax_has_started_without_it(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_use_fusion_emitters=false")
    with pytest.raises(RuntimeError, match="Take it out"):
        funcopt.enable_cpu_multi_output_fusion()
    monkeypatch.setenv("XLA_FLAGS", "")
    jnp.zeros(1).block_until_ready()
    with pytest.raises(RuntimeError, match="already started its backend"):
        funcopt.enable_cpu_multi_output_fusion()
    option = "--xla_backend_extra_options=xla_cpu_use_multi_output_fusion=true"
    monkeypatch.setenv("XLA_FLAGS", option)
    with pytest.raises(RuntimeError, match="started its backend before that was set"):
        funcopt.enable_cpu_multi_output_fusion()
    assert os.environ["XLA_FLAGS"] == option
    assert not one_pass.enabled()


def test_other_flags_are_kept():
    program = (
        "import os, funcopt; funcopt.enable_cpu_multi_output_fusion();"
        "import jax; assert jax.device_count() == 2; print(os.environ['XLA_FLAGS'])"
    )
    flags = "--xla_backend_extra_options=xla_cpu_a=1 --xla_force_host_platform_device_count=2"
    done = process("-c", program, XLA_FLAGS=flags)
    assert done.stdout.split() == [
        "--xla_force_host_platform_device_count=2",
        "--xla_backend_extra_options=xla_cpu_a=1,xla_cpu_use_multi_output_fusion=true",
    ], done.stderr


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_in_16_bits_is_done_as_it_is_without(monkeypatch, dtype):
    """XLA for the CPU converts whole arrays of it, once for each evaluation."""
    monkeypatch.setattr(one_pass, "enabled", lambda: True)
    params = jnp.ones(3, dtype)
    tx = funcopt.adam(1e-3)
    program = str(jax.make_jaxpr(tx.update)(params, tx.init(params), params))
    assert ("optimization_barrier" in program) is (dtype == "float32")
