"""The tensors of a space of two linears around a norm, by hand."""

import pytest
import torch

from compress.errors import PassError
from compress.modeling.spaces.norms import Norm
from compress.modeling.spaces.space import Reader, Space, Writer
from compress.passes.solvers.rotated_tensors import RotatedTensors

SIZE = 8
GENERATOR = torch.Generator().manual_seed(0)
LAYER_NORM = Norm(offset=0.0, centered=True, has_bias=True)


def normal(*shape):
    return torch.randn(shape, generator=GENERATOR)


def model(reader_bias=True):
    """Tensors of x = writer's rows, y = reader(norm(x)), and the space between them."""
    tensors = {
        "writer.weight": normal(SIZE, 3),
        "writer.bias": normal(SIZE),
        "norm.weight": normal(SIZE).abs() + 0.5,
        "norm.bias": normal(SIZE),
        "reader.weight": normal(4, SIZE),
        **({"reader.bias": normal(4)} if reader_bias else {}),
    }
    space = Space(
        writers=(Writer("writer.weight", 0), Writer("writer.bias", -1)),
        readers=(Reader("reader.weight", "reader.bias" if reader_bias else None, torch.arange(SIZE), "norm"),),
        norms={"norm": LAYER_NORM},
        rows=torch.arange(SIZE)[None],
        in_heads=False,
    )
    return tensors, space


def edited(tensors, *spaces):
    rotated = RotatedTensors(spaces, tensors.__getitem__, torch.Generator().manual_seed(0))
    return {name: rotated(name, tensor) for name, tensor in tensors.items()}


def output(tensors, inputs):
    x = inputs @ tensors["writer.weight"].T + tensors["writer.bias"]
    x = torch.nn.functional.layer_norm(x, (SIZE,), tensors["norm.weight"], tensors["norm.bias"])
    return x @ tensors["reader.weight"].T + tensors.get("reader.bias", 0.0)


@pytest.mark.parametrize("reader_bias", [True, False])
def test_what_is_computed_stays_the_same(reader_bias):
    tensors, space = model(reader_bias)
    new, inputs = edited(tensors, space), normal(5, 3)
    assert torch.allclose(output(new, inputs), output(tensors, inputs), atol=1e-5)
    assert torch.equal(new["norm.weight"], torch.ones(SIZE))
    assert bool(new["norm.bias"].any()) != reader_bias  # in the reader's bias where there is one
    assert not torch.allclose(new["writer.weight"], tensors["writer.weight"])


def test_a_gain_that_is_one_more_than_the_weight_ends_as_zeros():
    tensors, space = model()
    space = Space(space.writers, space.readers, {"norm": Norm(1.0, True, True)}, space.rows, False)
    assert torch.equal(edited(tensors, space)["norm.weight"], torch.zeros(SIZE))


def test_a_bias_that_no_linear_takes_in_needs_gains():
    tensors, space = model(reader_bias=False)
    tensors["norm.weight"][2] = 0.0
    with pytest.raises(PassError, match="rotate: norm has a bias and gains near 0, .* use residual=off"):
        edited(tensors, space)


def test_heads_are_rotated_each_by_itself_and_read_as_often_as_they_are_repeated():
    """Rows 2 to 5 of a packed projection are two heads of two channels, each read twice."""
    tensors = {"packed.weight": normal(6, 3), "reader.weight": normal(5, 8)}
    rows = torch.tensor([[2, 3], [4, 5]])
    columns = torch.tensor([2, 3, 2, 3, 4, 5, 4, 5])
    space = Space((Writer("packed.weight", 0),), (Reader("reader.weight", None, columns, None),), {}, rows, True)
    new = edited(tensors, space)
    assert torch.equal(new["packed.weight"][:2], tensors["packed.weight"][:2])
    assert not torch.allclose(new["packed.weight"][2:], tensors["packed.weight"][2:])
    before, after = (t["reader.weight"] @ t["packed.weight"][columns] for t in (tensors, new))
    assert torch.allclose(before, after, atol=1e-5)


def test_what_holds_no_floats_stays_as_it_is():
    tensors, space = model()
    rotated = RotatedTensors([space], tensors.__getitem__, torch.Generator())
    counts = torch.arange(3)
    assert rotated("counts", counts) is counts
