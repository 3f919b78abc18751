"""The card: its whole text by kind, pipeline and license, and the scores that are put into it later.

``python -m tests.compress.checkpoint.writing.test_model_card`` writes the cards in ``cards/`` again.
"""

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest

from compress.checkpoint.files.manifest import LayerReport, Manifest, Source
from compress.checkpoint.model import Model
from compress.checkpoint.writing.license import License
from compress.checkpoint.writing.model_card import card_with_scores, write_card
from compress.export.targets.base import find_target
from compress.progress import Silent
from compress.system.file_set import write_files
from compress.weights.stored import StoredForm, WeightReport
from tests.support.cli import run_card_examples
from tests.support.passes import make_variant

FOLDER = Path(__file__).parent / "cards"
DENSE = StoredForm(form="dense", shape=(64, 64), nbytes=8192)
INT8 = StoredForm(form="quantized", shape=(64, 64), nbytes=4352, bits=8, group=-1)
INT4 = StoredForm(form="quantized", shape=(64, 64), nbytes=2304, bits=4, group=32)
PRODUCT = StoredForm.product(
    StoredForm(form="quantized", shape=(64, 16), nbytes=1088, bits=8, group=-1),
    StoredForm(form="dense", shape=(16, 64), nbytes=2048),
)
VERSIONS = {"compress": "0.1.0", "python": "3.11.9", "torch": "2.8.0", "transformers": "5.0.0", "onnxruntime": "1.23.0"}
Q_PROJ, UP_PROJ = "model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.up_proj.weight"


def manifest(kind, architecture, pipeline, weights, **options):
    source = Source(
        name="some/model", sha256="0123456789abcdef" * 4, architecture=architecture, kind=kind,
        parameters=1_234_567, nbytes=4_938_268, tied=True,
    )  # fmt: skip
    facts = {
        "pipeline": pipeline, "recipe": pipeline.split(","), "seed": 7, "calibration": "none", "versions": VERSIONS,
        "machine": {}, "parameters": 1_234_567, "vector_nbytes": 2_345_678,
    }  # fmt: skip
    return Manifest(source=source, weights=weights, **{**facts, **options})


def layers(**reports):
    names = {"q": Q_PROJ, "up": UP_PROJ}
    blocks = {short: names[short].split(".self_attn")[0].split(".mlp")[0] for short in reports}
    return {
        blocks[short]: LayerReport(
            seconds=1.0, weights={names[short]: WeightReport(solver=solver, error=error, weight_error=0.01)}
        )
        for short, (solver, error) in reports.items()
    }


APACHE = License({"license": "apache-2.0"}, None)
CARDS = {
    "decoder": (
        manifest("decoder", "LlamaForCausalLM", "int8,fuse", {Q_PROJ: INT8, UP_PROJ: DENSE},
                 layers=layers(q=("rtn", 0.00125)), calibration="demo text, 8 windows of 128 tokens"),
        APACHE, "| | int8 |\n| --- | --- |\n| perplexity | 12.3 |\n",
    ),
    "decoder-fallback": (
        manifest("decoder", "LlamaForCausalLM", "int4", {Q_PROJ: INT4, UP_PROJ: INT4},
                 layers=layers(q=("gptq", 0.004), up=("rtn (fallback: Hessian not positive definite)", 0.025))),
        License({"license": "other", "license_name": "my: own", "license_link": "https://example.org/a#b"}, None), None,
    ),
    "decoder-product": (
        manifest("decoder", "Qwen3ForCausalLM", "lowrank:ratio=0.5,int8", {Q_PROJ: PRODUCT}, parameters=900_000),
        License({"license": "mit"}, "LICENSE"), None,
    ),
    "decoder-gptq": (
        manifest("decoder", "LlamaForCausalLM", "int4:head=float", {Q_PROJ: INT4}, format="gptq"),
        License({}, None), None,
    ),
    "encoder": (manifest("encoder", "BertModel", "fp16", {Q_PROJ: DENSE}), License({}, "COPYING"), "| a |\n"),
    "classifier": (
        manifest("classifier", "BertForSequenceClassification", "int8", {Q_PROJ: INT8},
                 versions={"compress": "0.1.0", "python": "3.12.1"}),
        APACHE, None,
    ),
    "token-classifier": (manifest("classifier", "BertForTokenClassification", "int8", {Q_PROJ: INT8}), APACHE, None),
    "encoder-decoder": (
        manifest("encoder-decoder", "T5ForConditionalGeneration", "int8:embed=float",
                 {"shared.weight": DENSE, "encoder.block.0.layer.0.SelfAttention.q.weight": INT8}),
        APACHE, None,
    ),
    "encoder-decoder-shared": (
        manifest("encoder-decoder", "T5ForConditionalGeneration", "int8", {"shared.weight": INT8}), APACHE, None,
    ),
    "image-classifier": (
        manifest("image-classifier", "ViTForImageClassification", "prune:heads=0.5", {Q_PROJ: DENSE},
                 parameters=617_283),
        License({"license": "openrail", "license_link": "LICENSE.md"}, None), "| a |\n",
    ),
}  # fmt: skip
"""Each card's manifest, license, and the scores that are put into it."""


def write_scores(directory, scores):
    """Put scores into a card as a score does."""
    write_files(card_with_scores(directory, scores))


def render(name, directory):
    """A card's text by its name in `CARDS`."""
    facts, license, scores = CARDS[name]
    write_card(directory, facts, license)
    if scores is not None:
        write_scores(directory, scores)
    return (directory / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CARDS)
def test_a_card_is_the_one_in_its_file(name, tmp_path):
    assert render(name, tmp_path) == (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def test_every_file_is_a_card():
    assert {file.stem for file in FOLDER.iterdir()} == set(CARDS)


def test_license_and_notices_travel_with_the_variant(llama, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for file in llama.iterdir():
        (source / file.name).write_bytes(file.read_bytes())
    (source / "LICENSE").write_text("MIT License\n")
    (source / "NOTICE.txt").write_text("made by others")
    (source / "README.md").write_text("---\nlicense: other\nlicense_name: mine\n---\n")
    out = tmp_path / "variant"
    make_variant(source, "fp16", find_target("hf").capability, out)
    card = (out / "README.md").read_text()
    assert card.startswith(
        "---\nbase_model: source\nlibrary_name: transformers\nlicense: other\nlicense_name: mine\n---\n"
    )
    assert "holds for this variant too: mine, its text is in `LICENSE`." in card
    assert "- made with torch " in card
    assert (out / "LICENSE").read_text() == "MIT License\n"
    assert (out / "NOTICE.txt").read_text() == "made by others"


def test_scores_come_before_how_to_load_it(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("# x\n\nwords\n\n## Loading\n\ncode\n")
    write_scores(tmp_path, "| a |\n")
    once = "# x\n\nwords\n\n<!-- scores -->\n## Measured\n\n| a |\n<!-- /scores -->\n\n## Loading\n\ncode\n"
    assert card.read_text() == once
    write_scores(tmp_path, "| b |\n")
    assert card.read_text() == once.replace("| a |", "| b |")


def test_a_card_that_its_owner_rewrote_gets_them_at_the_end(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("# mine\n")
    write_scores(tmp_path, "| a |")
    assert card.read_text() == "# mine\n\n<!-- scores -->\n## Measured\n\n| a |\n<!-- /scores -->\n"


def test_a_card_that_is_gone_stays_away(tmp_path):
    write_scores(tmp_path, "| a |")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "BertForTokenClassification"])
def test_the_card_of_a_classifier_says_how_to_load_it(tiny, tmp_path, monkeypatch, capsys, name):
    model, target = Model.open(str(tiny(name, id2label={0: "good", 1: "bad"}))), find_target("ort-cpu")
    variant = make_variant(model.path, "fp16", target.capability, tmp_path)
    (tmp_path / "onnx").mkdir()
    target.export(variant, (), tmp_path / "onnx", Silent())
    in_torch, in_onnx = re.findall(r"^```python\n(.*?)^```$", (tmp_path / "README.md").read_text(), re.M | re.S)
    monkeypatch.chdir(tmp_path)
    exec(in_torch, {})
    assert set(re.findall(r"\w+", capsys.readouterr().out)) <= {"good", "bad"}
    exec(in_onnx, {})
    shape = [1, 2] if "Sequence" in name else [1, len(model.tokenizer()("The capital of France")["input_ids"]), 2]
    assert capsys.readouterr().out.count(".") == np.prod(shape)


def test_the_card_of_an_encoder_decoder_says_how_to_load_it(random_model, tmp_path):
    sizes = {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 1, "num_heads": 4, "decoder_start_token_id": 2}
    model, target = Model.open(random_model("T5ForConditionalGeneration", **sizes)), find_target("ort-cpu")
    variant = make_variant(model.path, "fp16", target.capability, tmp_path)
    (tmp_path / "onnx").mkdir()
    target.export(variant, (), tmp_path / "onnx", Silent())
    in_torch, in_onnx = run_card_examples(tmp_path)
    assert len(in_onnx.strip()) > 0
    assert in_onnx.strip() in in_torch  # 20 tokens greedily, the start token among them


if __name__ == "__main__":
    for card_name in CARDS:
        with tempfile.TemporaryDirectory() as folder:
            (FOLDER / f"{card_name}.md").write_text(render(card_name, Path(folder)), encoding="utf-8")


def test_sizes_are_those_of_the_files(llama, tmp_path):
    """A tied matrix of integers is stored twice, once for each name; headers count too."""
    variant = make_variant(llama, "int8", find_target("hf").capability, tmp_path / "v")
    stored = sum(file.stat().st_size for file in variant.path.glob("*.safetensors"))
    original = (llama / "model.safetensors").stat().st_size
    line = f"- weights: {stored / 1e6:.1f} MB, against the original's {original / 1e6:.1f} MB\n"
    assert line in (variant.path / "README.md").read_text()
    assert f"{stored / 1e6:.2f}" != f"{variant.manifest.nbytes / 1e6:.2f}"
