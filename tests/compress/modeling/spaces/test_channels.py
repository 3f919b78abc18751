"""The ledger of a run."""

import torch
from torch import nn

from compress.modeling.spaces.channels import Ledger, tensors, vectors
from compress.modeling.spaces.norms import Norm
from compress.modeling.spaces.space import Writer

NORM = Norm(0.0, False, False)


def ledger():
    table = nn.Parameter(torch.ones(5, 4))
    return Ledger({id(table): "table"}), table


def test_a_parameter_holds_channels_along_its_last_axis():
    book, table = ledger()
    label = book.label(table)
    assert (label.space, label.shadow[0].tolist()) == ("table", [0, 1, 2, 3])
    assert list(book.channels(label).writers) == [Writer("table", -1)]
    assert book.label(torch.ones(4)) is None


def test_what_is_normed_is_read_as_whole_vectors():
    book, table = ledger()
    out = torch.ones(5, 4)
    book.put_normed("norm", NORM, table, out)
    assert book.label(out).norm == "norm"
    assert book.channels(book.label(out)).rows[0].tolist() == [[0, 1, 2, 3]]
    book.put_normed("second", NORM, out, torch.ones(5, 4))
    assert book.channels(book.label(out)).reason == "second reads what norm has normed"


def test_what_comes_from_nowhere_is_normed_as_channels_of_its_own():
    book, _ = ledger()
    unknown, out = torch.ones(2, 4), torch.ones(2, 4)
    book.put_normed("norm", NORM, unknown, out)
    [channels] = book.spaces()
    assert (book.label(out).norm, channels.writers, list(channels.norms)) == ("norm", {}, ["norm"])
    assert channels.fixed.all()


def test_a_norm_is_spoiled_by_what_can_not_be_scaled_back():
    book, table = ledger()
    out = torch.ones(5, 4)
    book.put_normed("norm", NORM, table, out)
    book.fix(book.label(out), "a gate", scalable=True)
    assert book.spoiled_norms == set()
    book.fix(book.label(out), "an activation")
    assert book.spoiled_norms == {"norm"}


def test_a_parameter_that_is_read_by_itself_is_known():
    book, table = ledger()
    assert not book.read_by_itself("table")
    book.label(table)
    assert book.read_by_itself("table")


def test_the_first_reason_is_kept():
    book, table = ledger()
    state = table * 1
    book.put(state, book.label(table))
    book.fix_all({"outputs": [state]}, "the first")
    book.fix_all((state,), "another")
    [channels] = book.spaces()
    assert channels.fixed.all()
    assert channels.reason == "the first reads it"


def test_tensors_are_found_within_anything():
    a, b, c = torch.ones(1), torch.ones(2), torch.ones(3)
    assert [t.numel() for t in tensors((a, {"b": [b, None]}, "text", c))] == [1, 2, 3]


def test_vectors_are_those_of_the_last_axis_once():
    assert vectors(torch.tensor([[[0, 1], [2, 3]], [[0, 1], [2, 3]]])).tolist() == [[0, 1], [2, 3]]
