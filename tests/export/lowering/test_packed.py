"""Who gets the parts of a product that was packed, once its weights turn out to be stored in different ways."""

import onnx_ir as ir
import pytest

from compress.export.lowering.packed import bypass_split, stacked_name


@pytest.mark.parametrize(("sizes", "direct"), [([4, 8], True), ([6, 6], False)])
def test_a_split_gets_the_parts_only_where_it_cuts_at_their_seams(sizes, direct):
    parts = [ir.Value(name="gate"), ir.Value(name="up")]
    concatenated = ir.node("Concat", parts, {"axis": -1}).outputs[0]
    at = ir.Value(name="at", const_value=ir.tensor(sizes))
    split = ir.node("Split", [concatenated, at], {"axis": -1}, num_outputs=2)
    product = ir.node("Mul", split.outputs)
    bypass_split(concatenated, parts, [4, 8])
    assert list(product.inputs) == (parts if direct else list(split.outputs))


def test_a_name_says_what_was_stacked():
    assert stacked_name(["l.0.q_proj.weight", "l.0.k_proj.weight"]) == "l.0.q_proj+k_proj.weight"
    assert stacked_name(["a.b", "c"]) == "a.b+c"
