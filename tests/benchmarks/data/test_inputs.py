"""Evaluation data of a run: what is read, what is generated, and what is refused before the work."""

import pytest
import torch

from compress.benchmarks.data.inputs import EvaluationInputs
from compress.calibration.data import Calibration
from compress.calibration.inputs import CalibrationInputs, TextInputs
from compress.calibration.overlap import Sketch
from compress.checkpoint.model import Model
from compress.corpus.packaged import EVALUATION, digest
from compress.errors import UsageError
from compress.progress import Silent
from tests.support.models import copy_checkpoint
from tests.support.words import english_tokenizer

SENTENCE = "the quick brown fox jumps over a lazy dog while seven wizards box daily "


def test_a_file_is_cut_into_as_many_windows_as_a_kind_takes(tiny, tmp_path):
    encoder, text = Model.open(str(tiny("BertModel"))), tmp_path / "text.txt"
    text.write_text(SENTENCE * 2000)
    inputs = EvaluationInputs(encoder, text)
    assert inputs.windows.inputs.shape == (64, 128)
    assert inputs.arrays.windows.tolist() == inputs.windows.inputs.tolist()
    assert inputs.origins == [f"evaluated on {inputs.windows}"]
    assert inputs.windows is inputs.windows  # read once


def test_what_is_generated_is_never_the_calibrations(monkeypatch, tiny):
    seeds = []

    def generate(self, count, length, seed):
        seeds.append((count, length, seed))
        return Calibration(torch.zeros(count, length), "zeros")

    monkeypatch.setattr(TextInputs, "generate", generate)
    _ = EvaluationInputs(Model.open(str(tiny("BertModel"))), seed=5).windows
    assert seeds == [(64, 128, 6)]


def test_the_packaged_text_is_for_models_that_read_it(tiny, tmp_path):
    """And so it can't calibrate them too."""
    english_tokenizer().save_pretrained(copy_checkpoint(tiny("LlamaForCausalLM"), tmp_path / "english"))
    model = Model.open(tmp_path / "english")
    inputs = EvaluationInputs(model, count=3)
    inputs.check()
    assert inputs.origins == [
        f"evaluated on packaged Wikipedia sample {digest(EVALUATION)[:12]}, 3 windows of 128 tokens"
    ]
    with pytest.raises(UsageError, match="is on what calibrated a variant: .*; give another text with --eval"):
        EvaluationInputs(model).check_overlap({"a variant": Sketch.of(CalibrationInputs(model, EVALUATION).data)})


def test_for_other_models_text_is_generated_and_that_is_said(tiny):
    progress = Silent()
    inputs = EvaluationInputs(Model.open(str(tiny("BertModel"))), progress=progress)
    inputs.check()
    inputs.check_overlap({"a variant": Sketch.of(inputs.windows)})  # what is generated has another seed
    assert inputs.windows.origin == "random vocabulary words, seed 1"
    assert progress.notices == [
        "the packaged evaluation text is English, which the tokenizer wasn't made for: generated text takes its place; "
        "give your own with --eval"
    ]


def test_what_is_named_is_read_before_the_work(tiny, tmp_path):
    model = Model.open(str(tiny("BertModel")))
    with pytest.raises(UsageError, match="can't read the text"):
        EvaluationInputs(model, tmp_path / "no.txt").check()
    with pytest.raises(UsageError, match="can't read the text"):
        EvaluationInputs(model, labels_file=tmp_path / "no.tsv").check()
    with pytest.raises(UsageError, match="--tasks is for decoders"):
        EvaluationInputs(model, task_names=("arc_easy",)).check()


def test_others_stand_by_behind_the_first_windows(tiny, tmp_path):
    """Those that halve the distances; a text without room for them has none."""
    decoder, text = Model.open(str(tiny("LlamaForCausalLM"))), tmp_path / "text.txt"
    text.write_text(SENTENCE * 2000)
    few, named = EvaluationInputs(decoder, text), EvaluationInputs(decoder, text, count=32)
    assert (few.arrays.windows.shape, few.arrays.further.shape) == ((8, 128), (120, 128))
    assert (named.arrays.windows.shape, named.arrays.further) == ((32, 128), None)
    assert few.arrays.windows.tolist() == EvaluationInputs(decoder, text, count=8).arrays.windows.tolist()
    quick = EvaluationInputs(decoder, text, quick=True)
    assert (quick.arrays.windows.shape, quick.arrays.further) == ((4, 128), None)
    text.write_text(SENTENCE * 70)
    assert EvaluationInputs(decoder, text).arrays.further is None
    with pytest.raises(UsageError, match="too few for 300 windows of 128; give a longer text"):
        EvaluationInputs(decoder, text, count=300).check()
    assert EvaluationInputs(decoder, count=3).arrays.windows.shape == (3, 128)
