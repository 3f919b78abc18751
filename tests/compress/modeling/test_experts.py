"""Experts by themselves: statistics of the tokens that are sent to each, and what starved ones get."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from compress.api.compress_model import resolve_for_targets
from compress.api.target_set import TargetSet
from compress.calibration.data import Calibration
from compress.calibration.statistics import Statistic
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.errors import UsageError
from compress.export.targets.base import find_target
from compress.modeling.experts import batched_stages
from compress.pipeline.contract import TargetCapability
from compress.pipeline.parse import Pipeline
from compress.pipeline.resolve import resolve
from compress.pipeline.run import run_pipeline
from compress.progress import Silent
from compress.weights.forms import Dense, Masked, Quantized
from compress.weights.stored import PER_CHANNEL
from tests.support.tensors import token_ids

TOKENS = token_ids(3, 20)
ANY = TargetCapability("test", (Dense, Masked, Quantized), bits=frozenset(range(2, 9)))
CLASSES = {"MixtralForCausalLM": ("num_local_experts", "w1"), "Qwen3MoeForCausalLM": ("num_experts", "gate_proj")}


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Products in float32 throughout, whatever the processor could do faster."""
    monkeypatch.setattr("compress.calibration.precision.native_bfloat16", lambda: False)


@pytest.fixture(scope="module", params=CLASSES)
def mixture(tiny, request):
    """A model with eight experts, two of which see each token, and what checkpoints call an expert's gate."""
    count, gate = CLASSES[request.param]
    return tiny(request.param, **{count: 8}, moe_intermediate_size=64, num_experts_per_tok=2), gate


def routed(path, tokens):
    """The first layer's MLP inputs ``[tokens, hidden]`` and each token's experts, from transformers' own module."""
    module, states = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval(), []
    module.model.layers[0].mlp.gate.register_forward_hook(lambda _, x, y: states.append((x[0], y[2])))
    with torch.no_grad():
        module(input_ids=tokens)
    return states[0]


def test_an_expert_has_statistics_of_its_own_tokens(mixture):
    path, gate = mixture
    hidden, chosen = routed(path, TOKENS)
    block, inputs = next(
        pair for pair in walk_blocks(Model.open(str(path)), TOKENS, Silent()) if pair[0].role == "layer"
    )
    stats = inputs.statistics(Statistic.GRAM)
    assert len(block.weights) == 4 + 8 * 3
    for i in range(8):
        name = f"model.layers.0.mlp.experts.{i}.{gate}.weight"
        x = hidden[(chosen == i).any(-1)]
        assert len(x) > 0
        assert stats[name].tokens == len(x)
        assert torch.allclose(stats[name].gram, x.T @ x / len(x), atol=1e-4)
        assert stats[name.replace(gate, {"w1": "w3"}.get(gate, "up_proj"))] is stats[name]


def test_starved_experts_are_rounded_and_reported(mixture, tmp_path):
    path, gate = mixture
    tokens = TOKENS[:1, :12]  # its 64 inputs want 8 tokens
    _, chosen = routed(path, tokens)
    pipeline = Pipeline.parse("int4:embed=float:head=float:skip=*self_attn*")
    variant = run_pipeline(
        Model.open(str(path)), pipeline, ANY, tmp_path, lambda: Calibration(tokens, "test"), 0, Silent()
    )
    reports = variant.manifest.layers["model.layers.0"].weights
    counts = [int((chosen == i).any(-1).sum()) for i in range(8)]
    assert min(counts) < 8
    for i, count in enumerate(counts):
        solver = reports[f"model.layers.0.mlp.experts.{i}.{gate}.weight"].solver
        if count == 0:
            assert solver == "rtn (fallback: no calibration text reaches it)"
        elif count < 8:
            assert solver == f"rtn (fallback: only {count} calibration tokens reach it)"
        else:
            assert solver == f"gptq ({count} calibration tokens, 1024 advised)"


def test_stages_of_experts_run_side_by_side():
    stages = [("l.q", "l.k"), ("l.o",), *[(f"l.mlp.experts.{i}.{name}",) for i in range(18) for name in ("up", "down")]]
    batched = batched_stages(stages)
    assert [len(wave) for wave in batched] == [1, 1, 16, 2, 16, 2]
    assert {stage[0].rpartition(".")[2] for wave in batched[2:4] for stage in wave} == {"up"}
    assert {stage[0].rpartition(".")[2] for wave in batched[4:] for stage in wave} == {"down"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("int4:mixed=4.5", "leave out mixed=4.5"),
        ("int8:act=dynamic", "leave out act=dynamic"),
    ],
)
def test_what_transformers_does_not_load_of_experts_is_refused(mixture, text, reason):
    model = Model.open(str(mixture[0]))
    with pytest.raises(UsageError, match=f"transformers loads experts .* alone; {reason}") as error:
        resolve(model, Pipeline.parse(text), find_target("hf").capability)
    assert error.value.exit_code == 2
    resolve(model, Pipeline.parse(text), find_target("ort-cpu").capability)


@pytest.mark.parametrize("text", ["int8:group=channel", "int4:group=channel:solver=rtn"])
def test_transformers_loads_experts_of_whole_channels(mixture, tmp_path, text, capfd):
    model, target = Model.open(str(mixture[0])), find_target("hf")
    pipeline = resolve_for_targets(model, Pipeline.parse(text), TargetSet((target,)))
    variant = run_pipeline(model, pipeline, target.capability, tmp_path, lambda: None, 0, Silent())
    experts = variant.architecture.outline.expert_weights
    assert {variant.manifest.weights[name].group for name in experts} == {PER_CHANNEL}
    target.export(variant, [], tmp_path, Silent())  # which compares what transformers loads with the variant
    assert "WARNING" not in capfd.readouterr().err
