import pytest
import torch

from compress.calibration.block import Block
from compress.calibration.layer_inputs import BlockInputs
from compress.errors import PassError
from compress.passes.bf16 import Bf16
from compress.passes.fp16 import Fp16
from compress.weights.forms import Dense, Factored, Masked


@pytest.mark.parametrize(("pass_", "dtype"), [(Fp16(), torch.float16), (Bf16(), torch.bfloat16)])
def test_every_float_tensor_is_rounded_once(pass_, dtype):
    matrix, vector, mask = torch.randn(4, 8), torch.randn(8), torch.rand(4, 8) > 0.5
    block = Block("b", "layer", {"w": Masked(matrix, mask)}, {"v": vector, "ids": torch.arange(3)})
    pass_.run(block, BlockInputs())
    assert torch.equal(block.weights["w"].tensor, matrix.to(dtype))
    assert block.weights["w"].mask is mask
    assert torch.equal(block.vectors["v"], vector.to(dtype))
    assert block.vectors["ids"].dtype == torch.int64


@pytest.mark.parametrize(("pass_", "dtype"), [(Fp16(), torch.float16), (Bf16(), torch.bfloat16)])
def test_tensors_of_the_type_stay_as_they_are_and_those_of_the_other_16_bits_are_converted(pass_, dtype):
    tensor = torch.randn(2, 2).to(dtype)
    assert pass_.apply("w", Dense(tensor), {}).tensor is tensor
    other = torch.randn(2, 2).to({torch.float16: torch.bfloat16, torch.bfloat16: torch.float16}[dtype])
    assert torch.equal(pass_.apply("w", Dense(other), {}).tensor, other.to(dtype))


def test_underflow_is_counted_tensor_by_tensor():
    matrix = torch.tensor([[1.0, 2.0**-26, 0.0, -(2.0**-30)]])
    factors = Factored(Dense(torch.tensor([[1e-9]])), Dense(torch.tensor([[1e-9, 1.0]])))
    weights = {"w": Dense(matrix), "f": factors, "fine": Dense(torch.ones(1, 2))}
    block = Block("b", "layer", weights, {"v": torch.tensor([1e-9, 1.0]), "bias": torch.ones(2)})
    Fp16().run(block, BlockInputs())
    counts = {name: report.underflow for name, report in block.reports.items()}
    assert counts == {"w": 2, "f": 2, "fine": 0, "v": 1}
    Bf16().run(block := Block("b", "layer", {"w": Dense(matrix)}, {}), BlockInputs())
    assert block.reports["w"].underflow == 0


def test_overflow_is_refused_with_the_remedy():
    with pytest.raises(
        PassError, match="fp16: 1 of 1 numbers overflow: w reaches 1e.05, more than float16 holds .65504.; use bf16"
    ):
        Fp16().apply("w", Dense(torch.full((1, 1), 1e5)), {})
    assert Bf16().apply("w", Dense(torch.full((1, 1), 1e5)), {}).tensor.item() == pytest.approx(1e5, rel=0.01)
    with pytest.raises(PassError, match=r"fp16: 1 of 2 numbers overflow: w reaches 9.98e.04"):
        Fp16().apply("w", Dense(torch.tensor([[1.0, 1e5]]).bfloat16()), {})
    with pytest.raises(
        PassError,
        match=r"bf16: 1 of 1 numbers overflow: w reaches 3.4e.38, more than bfloat16 holds \(3.3895e.38\); leave it in",
    ):
        Bf16().apply("w", Dense(torch.full((1, 1), 3.4e38)), {})
