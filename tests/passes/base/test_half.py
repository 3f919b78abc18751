import pytest
import torch

from compress.calibration.block import Block
from compress.calibration.layer_inputs import BlockInputs
from compress.errors import PassError
from compress.passes.bf16 import Bf16
from compress.passes.fp16 import Fp16
from compress.weights.forms import Dense, Masked


@pytest.mark.parametrize(("pass_", "dtype"), [(Fp16(), torch.float16), (Bf16(), torch.bfloat16)])
def test_every_float_tensor_is_rounded_once(pass_, dtype):
    matrix, vector, mask = torch.randn(4, 8), torch.randn(8), torch.rand(4, 8) > 0.5
    block = Block("b", "layer", {"w": Masked(matrix, mask)}, {"v": vector, "ids": torch.arange(3)})
    pass_.run(block, BlockInputs())
    assert torch.equal(block.weights["w"].tensor, matrix.to(dtype))
    assert block.weights["w"].mask is mask
    assert torch.equal(block.vectors["v"], vector.to(dtype))
    assert block.vectors["ids"].dtype == torch.int64


def test_half_tensors_stay_as_they_are():
    tensor = torch.randn(2, 2).bfloat16()
    assert Fp16().apply("w", Dense(tensor), {}).tensor is tensor


def test_overflow_is_refused_with_the_remedy():
    with pytest.raises(PassError, match="w reaches 1e.05, more than float16 holds .65504.; use bf16"):
        Fp16().apply("w", Dense(torch.full((1, 1), 1e5)), {})
    assert Bf16().apply("w", Dense(torch.full((1, 1), 1e5)), {}).tensor.item() == pytest.approx(1e5, rel=0.01)
    with pytest.raises(PassError, match=r"w reaches 3.4e.38, more than bfloat16 holds \(3.3895e.38\); leave it in"):
        Bf16().apply("w", Dense(torch.full((1, 1), 3.4e38)), {})
