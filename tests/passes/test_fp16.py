"""Pass `fp16`: IEEE float16 is what the checkpoint holds."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from compress.checkpoint.files.summary import notices
from compress.errors import PassError
from compress.passes.fp16 import Fp16
from compress.weights.forms import Dense
from tests.support.checkpoints import edit
from tests.support.models import copy_checkpoint


def test_numbers_are_rounded_to_11_significant_bits():
    exact = torch.tensor([[1 + 2**-10, 1 + 2**-12, 65504.0, 2**-24]])
    actual = Fp16().apply("w", Dense(exact), {}).tensor
    assert actual.dtype == torch.float16
    assert actual.tolist() == [[1 + 2**-10, 1.0, 65504.0, 2**-24]]
    with pytest.raises(PassError, match="use bf16"):
        Fp16().apply("w", Dense(exact * 2), {})


def test_a_model_takes_half_the_bytes(llama, run):
    variant = run(llama, "fp16")
    assert {variant.tensor(name).dtype for name in variant.names} == {torch.float16}
    assert all(form.nbytes == 2 * form.shape[0] * form.shape[1] for form in variant.manifest.weights.values())


def test_a_bfloat16_checkpoint_becomes_float16_its_config_and_its_scales_too(llama, tmp_path, run):
    edit(
        copy_checkpoint(llama, tmp_path / "b"),
        lambda tensors: tensors.update({k: t.bfloat16() for k, t in tensors.items()}),
    )
    for pipeline, dtype in {"fp16": "float16", "bf16": "bfloat16", "fp16,lowrank:keep=0.3": "float16"}.items():
        variant = run(tmp_path / "b", pipeline)
        kinds = {str(tensor.dtype) for tensor in load_file(variant.path / "model.safetensors").values()}
        assert kinds == {f"torch.{dtype}", *(["torch.int32"] if "lowrank" in pipeline else [])}  # its outputs' order
        assert json.loads((variant.path / "config.json").read_text())["dtype"] == dtype
    variant = run(tmp_path / "b", "fp16,int4:solver=rtn:group=32")
    assert variant.weight("model.layers.0.mlp.up_proj.weight").scale.dtype == torch.float16


def test_numbers_that_underflow_are_told_of_with_their_tensors(llama, tmp_path, run):
    def shrink(tensors):
        tensors["model.layers.0.mlp.up_proj.weight"].mul_(1e-9)
        tensors["model.norm.weight"][0] = 1e-10

    edit(copy_checkpoint(llama, tmp_path / "m"), shrink)
    assert notices(run(tmp_path / "m", "fp16").manifest) == [
        "8193 numbers underflowed to 0: 8192 of 8192 in model.layers.0.mlp.up_proj, 1 in model.norm"
    ]
    assert notices(run(tmp_path / "m", "bf16").manifest) == []
    assert (
        "8192 of 8192 in model.layers.0.mlp.up_proj"
        in notices(run(tmp_path / "m", "fp16,lowrank:keep=0.3").manifest)[-1]
    )
