"""Weights that others quantized are the floats that their own formulas give."""

from __future__ import annotations

import json

import pytest
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from torch import Tensor

from compress.errors import ModelError
from compress.formats.quantized_source import quantized_source
from tests.support.tensors import gaussian

FP8 = torch.float8_e4m3fn


def names_of(parts: dict[str, Tensor], module: str = "model.layers.0.mlp.up_proj") -> list[str]:
    return [f"{module}.{part}" for part in parts]


@pytest.mark.parametrize("blocks", [(16, 32), (24, 40), (12, 8)])
def test_blocks_of_fp8_are_multiplied_by_their_scales(blocks: tuple[int, int]) -> None:
    """The last block of a row or a column may be a part of one; there may be as many blocks as rows."""
    height, width = blocks
    weight = gaussian(48, 96).to(FP8)
    scale = gaussian(-(-48 // height), -(-96 // width), seed=1)
    source = quantized_source({"quant_method": "fp8", "weight_block_size": [height, width]})
    parts = {"weight": weight, "weight_scale_inv": scale}
    floats = source.dequantize("m", parts)
    for i in range(48):
        for j in range(96):
            assert floats[i, j] == weight[i, j].float() * scale[i // height, j // width]
    assert source.modules([*names_of(parts), "model.norm.weight"]) == {
        "model.layers.0.mlp.up_proj": (
            "model.layers.0.mlp.up_proj.weight_scale_inv",
            "model.layers.0.mlp.up_proj.weight",
        )
    }


def test_blocks_that_do_not_fit_are_refused() -> None:
    parts = {"weight": gaussian(48, 96).to(FP8), "weight_scale_inv": torch.ones(3, 2)}
    with pytest.raises(ModelError, match=r"m has \[3, 2\] scales, and \[3, 3\] blocks"):
        quantized_source({"quant_method": "fp8", "weight_block_size": [16, 32]}).dequantize("m", parts)


@pytest.mark.parametrize("scale", [torch.tensor(0.5), torch.full((8, 1), 0.5), torch.full((8,), 0.5)])
def test_rows_and_whole_matrices_of_fp8(scale: Tensor) -> None:
    weight = gaussian(8, 16).to(FP8)
    floats = quantized_source({"quant_method": "fp8"}).dequantize("m", {"weight": weight, "weight_scale": scale})
    assert torch.equal(floats, weight.float() / 2)


ARGS = {
    "int8": ("int-quantized", {"num_bits": 8, "type": "int", "strategy": "channel", "symmetric": True}),
    "int4": ("pack-quantized", {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 16}),
    "zeros": (
        "pack-quantized",
        {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 16, "symmetric": False},
    ),
    "fp8": ("float-quantized", {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True}),
}


@pytest.mark.parametrize("name", ARGS)
def test_what_compressed_tensors_compresses_is_read(name: str) -> None:
    """The library makes the tensors, and a formula on the numbers before it packs them tells what they are."""
    form, args = ARGS[name]
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**args), format=form)
    groups = 4 if args["strategy"] == "group" else 1
    weight, scale = gaussian(32, 64), gaussian(32, groups, seed=1).abs() / 4 + 0.1
    zero = torch.randint(-3, 4, (32, groups), generator=torch.Generator().manual_seed(2)).to(torch.int8)
    asymmetric = args.get("symmetric") is False
    state = {"weight": weight, "weight_scale": scale, **({"weight_zero_point": zero} if asymmetric else {})}
    parts = BaseCompressor.get_value_from_registry(form).compress(dict(state), scheme)
    config = {
        "quant_method": "compressed-tensors", "format": form, "quantization_status": "compressed",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": args, "format": form}},
    }  # fmt: skip
    floats = quantized_source(config).dequantize("model.layers.0.mlp.up_proj", parts)
    steps, zeros = (t.repeat_interleave(64 // groups, 1) for t in (scale, zero * asymmetric))
    if args["type"] == "float":
        expected = (weight / steps).clamp(-448, 448).to(FP8).float() * steps
    else:
        low, high = -(1 << (args["num_bits"] - 1)), (1 << (args["num_bits"] - 1)) - 1
        expected = ((weight / steps).add(zeros).round().clamp(low, high) - zeros) * steps
    assert torch.allclose(floats, expected, atol=1e-6)


def test_what_was_saved_as_floats_is_left_as_it_is() -> None:
    config = {"quant_method": "compressed-tensors", "format": "dense", "config_groups": {}}
    parts = {"weight": gaussian(4, 8).bfloat16(), "weight_scale": torch.full((4, 1), 0.5)}
    assert torch.equal(quantized_source(config).dequantize("m", parts), parts["weight"].float())


def test_the_format_of_the_whole_holds_where_a_group_names_none() -> None:
    weights = ARGS["int4"][1]
    scheme = QuantizationScheme(targets=["Linear"], weights=QuantizationArgs(**weights), format="pack-quantized")
    state = {"weight": gaussian(32, 64), "weight_scale": gaussian(32, 4, seed=1).abs() + 0.1}
    parts = BaseCompressor.get_value_from_registry("pack-quantized").compress(state, scheme)
    group = {"targets": ["Linear"], "weights": weights, "input_activations": {"num_bits": 8, "dynamic": True}}
    config = {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0": group}}
    assert quantized_source(config).dequantize("m", parts).shape == (32, 64)


def packed(numbers: Tensor, bits: int) -> Tensor:
    """Unsigned numbers ``[n, k]`` as words along the first axis, bit by bit."""
    words = torch.zeros(len(numbers) * bits // 32, numbers.shape[1], dtype=torch.int64)
    for i in range(len(numbers)):
        for bit in range(bits):
            place = i * bits + bit
            words[place // 32] |= ((numbers[i].long() >> bit) & 1) << (place % 32)
    return words.where(words < 1 << 31, words - (1 << 32)).int()


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("version", ["gptq", "gptq_v2"])
def test_gptq_with_groups_in_any_order(bits: int, version: str) -> None:
    generator = torch.Generator().manual_seed(bits)
    inputs, outputs, groups = 64, 32, 4
    codes = torch.randint(0, 1 << bits, (inputs, outputs), generator=generator)
    zeros = torch.randint(0, 1 << bits, (groups, outputs), generator=generator)
    scales = gaussian(groups, outputs).half()
    order = torch.randperm(inputs, generator=generator) // (inputs // groups)
    stored = (zeros - 1) % (1 << bits) if version == "gptq" else zeros
    parts = {
        "qweight": packed(codes, bits), "qzeros": packed(stored.T, bits).T.contiguous(), "scales": scales,
        "g_idx": order.int(),
    }  # fmt: skip
    source = quantized_source({"quant_method": "gptq", "bits": bits, "checkpoint_format": version})
    expected = scales.float()[order] * (codes - zeros[order])
    assert torch.equal(source.dequantize("m", parts), expected.T)
    del parts["g_idx"]
    in_order = torch.arange(inputs) // (inputs // groups)
    assert torch.equal(source.dequantize("m", parts), (scales.float()[in_order] * (codes - zeros[in_order])).T)


def test_awq_in_its_order_of_outputs() -> None:
    generator = torch.Generator().manual_seed(0)
    codes, zeros = (torch.randint(0, 16, (rows, 16), generator=generator) for rows in (32, 2))
    scales, order = gaussian(2, 16).half(), [0, 2, 4, 6, 1, 3, 5, 7]

    def words(numbers: Tensor) -> Tensor:
        lanes = numbers.unflatten(1, (-1, 8))[..., order].flatten(1)
        return packed(lanes.T, 4).T.contiguous()

    parts = {"qweight": words(codes), "qzeros": words(zeros), "scales": scales}
    group = torch.arange(32) // 16
    source = quantized_source({"quant_method": "awq", "bits": 4, "version": "gemm"})
    assert torch.equal(source.dequantize("m", parts), (scales.float()[group] * (codes - zeros[group])).T)
    with pytest.raises(ModelError, match="awq in the version gemv, with 4 bits, isn't read"):
        quantized_source({"quant_method": "awq", "bits": 4, "version": "gemv"})


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("storage", [torch.uint8, torch.bfloat16])
def test_nf4_of_bitsandbytes(nested: bool, storage: torch.dtype) -> None:
    """The bytes may be said to be floats, which FSDP asks for."""
    generator = torch.Generator().manual_seed(0)
    codes, values = torch.randint(0, 16, (8, 64), generator=generator), gaussian(16).sort().values
    absmax = gaussian(8, seed=1).abs()
    state = {"shape": [8, 64], "blocksize": 64, "nested_blocksize": 4, "nested_offset": 0.25}
    parts = {"weight": (codes.flatten()[::2] << 4 | codes.flatten()[1::2]).to(torch.uint8).view(storage)[:, None],
             "weight.absmax": absmax, "weight.quant_map": values}  # fmt: skip
    if nested:
        outer_map, outer = gaussian(256, seed=2), gaussian(2, seed=3)
        small = torch.randint(0, 256, (8,), generator=generator)
        absmax = torch.stack([outer_map[small[i]] * outer[i // 4] + 0.25 for i in range(8)])
        parts |= {"weight.absmax": small.to(torch.uint8), "weight.nested_absmax": outer,
                  "weight.nested_quant_map": outer_map}  # fmt: skip
    parts["weight.quant_state.bitsandbytes__nf4"] = torch.tensor(list(json.dumps(state).encode()), dtype=torch.uint8)
    source = quantized_source({"quant_method": "bitsandbytes", "load_in_4bit": True})
    assert torch.allclose(source.dequantize("m", parts), values[codes] * absmax[:, None])
    assert list(source.modules(names_of(parts))) == ["model.layers.0.mlp.up_proj"]


def test_rows_of_8_bits_of_bitsandbytes() -> None:
    codes = torch.randint(-127, 128, (4, 8), generator=torch.Generator().manual_seed(0)).to(torch.int8)
    parts = {"weight": codes, "SCB": torch.tensor([1.0, 2.0, 3.0, 4.0])}
    floats = quantized_source({"quant_method": "bitsandbytes"}).dequantize("m", parts)
    assert torch.allclose(floats, codes * parts["SCB"][:, None] / 127)


@pytest.mark.parametrize("config", [{"quant_method": "hqq"}, {}, "int8"])
def test_other_methods_are_refused(config: object) -> None:
    with pytest.raises(ModelError, match=r"can't be read as floats; those by fp8, compressed-tensors, gptq, .* can"):
        quantized_source(config)


def test_a_module_without_a_scheme_is_refused() -> None:
    groups = {"group_0": {"targets": ["re:.*experts.*"], "weights": ARGS["int8"][1], "format": "int-quantized"}}
    source = quantized_source({"quant_method": "compressed-tensors", "config_groups": groups})
    with pytest.raises(ModelError, match=r"no group of its quantization_config is for model\.up_proj"):
        source.dequantize("model.up_proj", {})
