"""The type that a graph is computed in, and which of its twins is compared with torch."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import onnx_ir as ir
import pytest
import torch

from compress.checkpoint.model import Model
from compress.errors import ExportError, ModelError
from compress.export.built.build import build
from compress.export.lowering.weights import SlicedWeights
from compress.export.parity import verify
from compress.export.parity.compare import DiffersError, check_close
from compress.export.parity.reference import reference_traces
from compress.export.parity.sample import sample_input
from compress.export.parity.verify import compute_dtype, lower_and_verify
from compress.export.targets.base import find_target
from compress.export.targets.ort_cpu import OrtCpu
from compress.modeling import architecture
from compress.modeling.dry_run import DryRun
from compress.onnx_names import TABLES
from compress.pipeline.parse import Pipeline
from compress.progress import Silent
from tests.support.models import SIZES, copy_checkpoint
from tests.support.passes import make_variant
from tests.support.tensors import token_ids


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


TOKENS = token_ids(4, 24)
DYNAMIC = ("DynamicQuantizeMatMul", "int8:act=dynamic:fallback=1.0")
FOUR_BITS = ("MatMulNBits", "int4:group=32:asym:rtn:head=int4:embed=int4")
MODELS = {
    "decoder": ("LlamaForCausalLM", {**SIZES, "num_key_value_heads": 2, "tie_word_embeddings": False}),
    "learned positions": ("GPT2LMHeadModel", {**SIZES, "n_inner": 128}),
    "experts": ("MixtralForCausalLM", {**SIZES, "num_key_value_heads": 2, "num_local_experts": 4}),
    "encoder": ("BertModel", SIZES),
}


def last(array):
    """One scale, or one code, larger than it is."""
    array.flat[-1] = array.flat[-1] * 1.05 if array.dtype.kind == "f" else array.flat[-1] + 1
    return array


MUTANTS = {
    "scales": (2, lambda array: array * 1.01),
    "a scale": (2, last),
    "scales of others": (2, lambda array: array.reshape(-1)[::-1].reshape(array.shape).copy()),
    "codes": (1, lambda array: array + 1),
    "a code": (1, last),
    "zero points": (3, lambda array: array + 1),
}


def export(path, pipeline, folder):
    """Export a variant of a model into a folder; returns what torch computes, as the gate holds it against the file."""
    variant = make_variant(path, pipeline, OrtCpu.capability, path / "variant", TOKENS)
    folder.mkdir()
    find_target("ort-cpu").export(variant, Pipeline.parse(pipeline).graph_passes, folder, Silent())
    return reference_traces(variant.torch_module(), variant.kind, sample_input(variant))


def behind_cast(value):
    """What is stored of a value that is cast as it is read."""
    producer = value.producer()
    return producer.inputs[0] if producer is not None and producer.op_type == "Cast" else value


def refuse(folder, traces, name, change):
    """Assert that the gate refuses a graph with other numbers: ``change(model)`` gives values and what they become."""
    model = ir.load(folder / "model.onnx")
    for value, array in change(model):
        value.const_value = ir.tensor(array.astype(value.const_value.numpy().dtype), name=value.name)
    ir.save(model, folder / "mutant.onnx")
    with pytest.raises(DiffersError, match="differs from torch"):
        check_close(folder / "mutant.onnx", traces)
        pytest.fail(name)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "operator", "pipeline"), [
    ("decoder", *DYNAMIC), ("decoder", *FOUR_BITS), ("learned positions", *DYNAMIC), ("experts", *DYNAMIC),
    ("encoder", *DYNAMIC),
])  # fmt: skip
def test_no_number_of_an_integer_matrix_may_be_another(random_model, tmp_path, kind, operator, pipeline):
    """Nor whatever rounds where it is multiplied with, of whatever kind the model is."""
    name, options = MODELS[kind]
    traces = export(random_model(name, **options), pipeline, folder := tmp_path / "graph")

    def mutated(model, slot, change):
        values = [node.inputs[slot] for node in model.graph if node.op_type == operator]
        return [(value, change(value.const_value.numpy().copy())) for value in set(map(behind_cast, values))]

    for mutant, (slot, change) in MUTANTS.items():
        refuse(folder, traces, mutant, partial(mutated, slot=slot, change=change))


def tables(model):
    """What rows of a graph are looked up in: words, positions, kinds of text, angles."""
    slots = {"Gather": (0,), "GatherBlockQuantized": (0, 2), "GroupQueryAttention": TABLES}
    values = {node.inputs[i] for node in model.graph for i in slots.get(node.op_type, ())} - {None}
    stored = {behind_cast(value) for value in values}
    return [value for value in sorted(stored, key=lambda value: value.name) if value.is_initializer()]


@pytest.mark.slow
def test_frequencies_of_rotations_that_are_others_show_at_late_positions(random_model, tmp_path):
    path = random_model("LlamaForCausalLM", **{**SIZES, "num_key_value_heads": 2, "max_position_embeddings": 1024})
    traces = export(path, "fuse", folder := tmp_path / "graph")

    def mutated(model):
        (value,) = (value for name, value in model.graph.initializers.items() if "frequencies" in name)
        return [(value, value.const_value.numpy() * np.float32(1 + 1e-5))]

    refuse(folder, traces, "frequencies", mutated)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "pipeline", "count"), [
    ("LlamaForCausalLM", "int4:group=32:rtn", 2), ("LlamaForCausalLM", "int4:group=32:rtn,fuse", 2),
    ("GPT2LMHeadModel", "fuse", 2), ("BertModel", "fuse", 3), ("BertForSequenceClassification", "fuse", 3),
])  # fmt: skip
def test_the_last_row_of_no_table_may_be_another(random_model, tmp_path, name, pipeline, count):
    """Of a word that few texts have, of a position that few reach."""
    options = {**SIZES, "num_key_value_heads": 2} if name.startswith("Llama") else {**SIZES, "n_inner": 128}
    path = random_model(name, **{**options, "pad_token_id": 0, "eos_token_id": 0})
    traces = export(path, pipeline, folder := tmp_path / "graph")

    def mutated(model, number):
        values = tables(model)
        assert len(values) == count, [value.name for value in values]
        array = values[number].const_value.numpy().copy()
        array[-1] = array[-1] * 1.05 + 1 if array.dtype.kind == "f" else array[-1] ^ 1
        return [(values[number], array)]

    for i in range(count):
        refuse(folder, traces, f"table {i}", partial(mutated, number=i))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["model.layers.0.mlp.down_proj.weight.T", "lm_head.weight.T"])
def test_a_matrix_in_16_bits_that_is_another_does_not_pass(untied, tmp_path, dtype, name):
    def mutate(model):
        value = model.graph.initializers[name]
        stored = value.const_value.numpy()
        value.const_value = ir.tensor((stored * np.float32(1.1)).astype(stored.dtype), name=name)

    with pytest.raises(ExportError, match="not close to torch"):
        lowered(untied, tmp_path, dtype=dtype, check=mutate)


def test_a_check_sees_the_graph_before_it_is_written(llama, tmp_path):
    def refuse(model):
        raise ExportError(f"{len(model.graph.outputs)} outputs are too many")

    with pytest.raises(ExportError, match="5 outputs are too many"):
        lowered(llama, tmp_path, check=refuse)
    assert not (tmp_path / "model.onnx").exists()


def test_what_transformers_itself_cannot_run_is_the_models_fault(tiny, tmp_path, monkeypatch):
    """Where the dry run, which sees no numbers, has nothing to say."""
    monkeypatch.setattr(architecture, "run_dry", lambda module, kind: DryRun())
    path = tiny("BertModel", type_vocab_size=0)  # a row that there is none of is looked up
    (tmp_path / "graph").mkdir()
    with pytest.raises(ModelError, match=r"transformers can't run this BertModel itself \(.*look at config.json"):
        lowered(path, tmp_path / "graph")
