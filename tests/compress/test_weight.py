import torch

from compress.weight import Dense, Factored, Quantized, Residual, is_finite, mask_of


def quantized(zero_point=None, bits=8):
    codes = torch.tensor([[1, -2, 3, 4], [5, 6, -7, 0]], dtype=torch.int8)
    return Quantized(codes, torch.tensor([[0.5, 2.0], [1.0, 0.25]]), bits, 2, zero_point)


def test_quantized_dequantizes_group_by_group():
    assert quantized().dequantize().tolist() == [[0.5, -1.0, 6.0, 8.0], [5.0, 6.0, -1.75, 0.0]]


def test_quantized_subtracts_the_zero_point():
    zero_point = torch.tensor([[1, 0], [0, -1]], dtype=torch.int8)
    assert quantized(zero_point).dequantize().tolist() == [[0.0, -1.5, 6.0, 8.0], [5.0, 6.0, -1.5, 0.25]]


def test_bytes_are_those_of_the_packed_form():
    assert quantized().nbytes() == 8 + 4 * 4
    assert quantized(bits=4).nbytes() == 4 + 4 * 4
    assert quantized(torch.zeros(2, 2, dtype=torch.int8), bits=4).nbytes() == 4 + 4 * 4 + 2
    assert Dense(torch.zeros(3, 5, dtype=torch.float16)).nbytes() == 30


def test_factored_and_residual_are_products_and_sums():
    left, right = Dense(torch.ones(2, 1)), Dense(torch.arange(4.0)[None])
    factored = Factored(left, right)
    assert factored.shape == (2, 4)
    assert factored.nbytes() == 8 + 16
    residual = Residual(quantized(), factored)
    assert torch.equal(residual.dequantize(), quantized().dequantize() + torch.arange(4.0))
    assert residual.shape == (2, 4)
    assert residual.nbytes() == quantized().nbytes() + 24


def test_finiteness_looks_at_every_stored_number():
    broken = Dense(torch.tensor([[float("nan")]]))
    assert not is_finite(broken)
    assert not is_finite(Factored(Dense(torch.ones(1, 1)), broken))
    assert is_finite(Residual(quantized(), Factored(Dense(torch.ones(2, 1)), Dense(torch.ones(1, 4)))))


def test_only_dense_weights_carry_a_mask():
    mask = torch.tensor([[True, False]])
    assert mask_of(Dense(torch.ones(1, 2), mask)) is mask
    assert mask_of(quantized()) is None
