"""The type that a graph is computed in, and which of its twins is compared with torch."""

from __future__ import annotations

from types import SimpleNamespace

import onnx_ir as ir
import pytest
import torch

from compress.checkpoint.model import Model
from compress.errors import ExportError, ModelError
from compress.export.built.build import build
from compress.export.lowering.weights import SlicedWeights
from compress.export.parity import verify
from compress.export.parity.verify import compute_dtype, lower_and_verify
from compress.modeling import dry_run
from compress.progress import Silent
from tests.support.models import copy_checkpoint


def checkpoint(**tensors):
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return SimpleNamespace(shapes=shapes, names=list(tensors), tensor=tensors.__getitem__)


def test_the_type_is_that_of_most_float_vectors():
    half, single, matrix = torch.ones(2).half(), torch.ones(2), torch.ones(2, 2)
    assert compute_dtype(checkpoint(a=half, b=half, c=single, d=matrix, e=matrix, f=matrix)) == torch.float16
    assert compute_dtype(checkpoint(a=single.bfloat16(), b=torch.arange(2), c=torch.arange(3))) == torch.bfloat16
    assert compute_dtype(checkpoint(a=matrix.half())) == torch.float32
    assert compute_dtype(checkpoint()) == torch.float32
    assert compute_dtype(checkpoint(a=single.double())) == torch.float32


def lowered(path, out, **options):
    model = Model.open(str(path))
    graph = build(model.config, model.names, fused=False)
    weights = SlicedWeights(model, graph.rows)
    return lower_and_verify({"model.onnx": graph.model}, weights, model, out, progress := Silent(), **options), progress


@pytest.fixture
def folders(monkeypatch):
    """The folders of the graphs that are compared with torch exactly."""
    compared = []
    check_close = verify.check_close

    def record(graph, traces, exact):
        compared.append(graph.parent)
        check_close(graph, traces, exact)

    monkeypatch.setattr(verify, "check_close", record)
    return compared


def test_a_float32_graph_is_compared_as_it_lies_in_the_file(llama, tmp_path, folders):
    _, progress = lowered(llama, tmp_path)
    assert folders == [tmp_path]
    assert progress.notices == []


def test_a_weight_whose_terms_cancel_is_no_wrong_graph(llama, tmp_path):
    """Torch's own float32 is off from float64 by a hundredth of the logits' deviation there."""

    def enlarge(tensors):
        tensors["model.embed_tokens.weight"][1, 13] = 6e4

    path = copy_checkpoint(llama, tmp_path / "model", enlarge)
    (tmp_path / "graph").mkdir()
    facts, _ = lowered(path, tmp_path / "graph")
    assert facts["model.onnx"].rounding == "never"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_of_a_graph_in_16_bits_a_float32_twin_is_compared(llama, tmp_path, folders, dtype):
    _, progress = lowered(llama, tmp_path, dtype=dtype)
    assert folders != [tmp_path]
    assert len(folders) == 1
    assert bool(progress.notices) == (dtype == torch.bfloat16)
    stored = ir.load(tmp_path / "model.onnx").graph.outputs[0].dtype
    assert stored == (ir.DataType.FLOAT16 if dtype == torch.float16 else ir.DataType.BFLOAT16)


def test_a_check_sees_the_graph_before_it_is_written(llama, tmp_path):
    def refuse(model):
        raise ExportError(f"{len(model.graph.outputs)} outputs are too many")

    with pytest.raises(ExportError, match="5 outputs are too many"):
        lowered(llama, tmp_path, check=refuse)
    assert not (tmp_path / "model.onnx").exists()


def test_what_transformers_itself_cannot_run_is_the_models_fault(tiny, tmp_path, monkeypatch):
    """Where the dry run, which sees no numbers, has nothing to say."""
    monkeypatch.setattr(dry_run, "failure", lambda module, kind: None)
    path = tiny("BertModel", type_vocab_size=0)  # a row that there is none of is looked up
    (tmp_path / "graph").mkdir()
    with pytest.raises(ModelError, match=r"transformers can't run this BertModel itself \(.*look at config.json"):
        lowered(path, tmp_path / "graph")
