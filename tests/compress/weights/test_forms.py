import torch

from compress.weights.forms import (
    Dense,
    Factored,
    Masked,
    Pivoted,
    Quantized,
    Residual,
    is_finite,
    keeps_zeros,
    leaves,
    mask_of,
    merged,
    order_name,
    part_name,
    whole_name,
)


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


def test_a_pivoted_product_holds_its_pivots_once():
    left, right = Dense(torch.tensor([[2.0, 1.0]])), Dense(torch.tensor([[1.0, 0.0, 3.0], [0.0, 1.0, 5.0]]))
    weight = Pivoted(left, right, torch.tensor([1, 2, 0], dtype=torch.int32))
    assert weight.shape == (3, 3)
    assert weight.dequantize().tolist() == [[0.0, 1.0, 5.0], [2.0, 1.0, 11.0], [1.0, 0.0, 3.0]]
    assert weight.nbytes() == 4 * 2 + 4 * 6 + 4 * 3
    assert torch.equal(merged(weight).tensor, weight.dequantize())
    assert leaves(weight) == [left, right]
    assert order_name("a.q_proj.weight") == "a.q_proj.order"


def test_finiteness_looks_at_every_stored_number():
    broken = Dense(torch.tensor([[float("nan")]]))
    assert not is_finite(broken)
    assert not is_finite(Factored(Dense(torch.ones(1, 1)), broken))
    assert is_finite(Residual(quantized(), Factored(Dense(torch.ones(2, 1)), Dense(torch.ones(1, 4)))))


def test_masks_are_those_of_the_stored_matrix():
    mask = torch.tensor([[True, False]])
    codes = Quantized(torch.tensor([[1, 0]], dtype=torch.int8), torch.ones(1, 1), 4, 2, mask=mask)
    repair = Factored(Dense(torch.ones(1, 1)), Dense(torch.ones(1, 2)))
    for weight in (Masked(torch.ones(1, 2), mask), codes, Residual(codes, repair)):
        assert mask_of(weight) is mask
    for weight in (Dense(torch.ones(1, 2)), quantized(), repair):
        assert mask_of(weight) is None


def test_zeros_are_kept_only_where_they_stay_promised():
    mask = torch.tensor([[True, False]])
    old, more = Masked(torch.tensor([[3.0, 0.0]]), mask), torch.tensor([[False, False]])
    product = Factored(Dense(torch.ones(1, 1)), old)
    assert keeps_zeros(Dense(torch.ones(1, 2)), Dense(torch.ones(1, 2)))
    assert keeps_zeros(old, Masked(torch.tensor([[9.0, 0.0]]), mask))
    assert keeps_zeros(old, Masked(torch.zeros(1, 2), more))
    assert keeps_zeros(
        old, Residual(Quantized(torch.zeros(1, 2, dtype=torch.int8), torch.ones(1, 1), 4, 2, mask=mask), product)
    )
    assert not keeps_zeros(old, Masked(torch.ones(1, 2), mask))
    assert not keeps_zeros(old, Dense(torch.tensor([[3.0, 0.0]])))
    assert not keeps_zeros(old, product)
    assert keeps_zeros(product, product)
    assert not keeps_zeros(product, Factored(product.left, Dense(old.tensor)))


def test_parts_are_named_beside_the_matrix():
    assert part_name("a.q_proj.weight", "left") == "a.q_proj.left.weight"
    assert [whole_name(f"a.{prefix}.weight") for prefix in ("q.left", "q.right", "q", "left.q")] == [
        "a.q.weight",
        "a.q.weight",
        "a.q.weight",
        "a.left.q.weight",
    ]


def test_a_product_is_merged_into_what_it_stands_for():
    left, right = torch.tensor([[1.0], [2.0]]), torch.arange(4.0)[None]
    product = Factored(Dense(left.half()), Dense(right.half()))
    assert torch.equal(merged(product).tensor, (left @ right).half())
    assert torch.equal(merged(Residual(quantized(), product)).tensor, (quantized().dequantize() + left @ right).half())
    assert merged(product.left) is product.left
