"""Rows of a checkpoint's matrices, traced through what renames and cuts them up, and taken out of every form."""

import torch

from compress.export.built.weight_rows import trace_rows


def cut(tensors):
    """Heads of two rows each, q, k and v in turn; a matrix that is stored the other way; and numbers of its own."""
    pieces = {}
    for name, tensor in tensors.items():
        if "qkv" in name:
            heads = tensor.reshape(2, 3, 2, *tensor.shape[1:])
            pieces |= {name.replace("qkv", part): heads[:, i].flatten(0, 1) for i, part in enumerate("qkv")}
        elif "odd" in name:
            pieces |= {name: tensor.T[2:], "scaled": tensor * 2, "made": torch.zeros(3)}
        else:
            pieces[f"renamed.{name}"] = tensor
    return pieces


def test_pieces_are_traced_to_rows_of_one_tensor():
    tensors = {
        name: torch.empty(shape, device="meta")
        for name, shape in {
            "embed": (9, 4), "h.0.qkv.weight": (12, 4), "h.0.qkv.bias": (12,), "h.1.qkv.weight": (12, 4), "odd": (4, 6)
        }.items()
    }  # fmt: skip
    actual = trace_rows(tensors, frozenset({"odd"}), cut)
    assert {name: rows.tensor for name, rows in actual.items() if rows.indices is None} == {"renamed.embed": "embed"}
    assert {
        name: (rows.tensor, rows.indices.tolist()) for name, rows in actual.items() if rows.indices is not None
    } == {
        **{
            f"h.{layer}.{part}.weight": (f"h.{layer}.qkv.weight", rows)
            for layer in (0, 1)
            for part, rows in {"q": [0, 1, 6, 7], "k": [2, 3, 8, 9], "v": [4, 5, 10, 11]}.items()
        },
        "h.0.q.bias": ("h.0.qkv.bias", [0, 1, 6, 7]),
        "h.0.k.bias": ("h.0.qkv.bias", [2, 3, 8, 9]),
        "h.0.v.bias": ("h.0.qkv.bias", [4, 5, 10, 11]),
        "odd": ("odd", [2, 3, 4, 5]),
    }
