"""Calibration data: how much of it, from where, and what is refused before the work."""

import pytest
import torch

from compress.calibration.inputs import CalibrationInputs, ImageInputs, TextInputs, inputs_class
from compress.checkpoint.model import Model
from compress.errors import UsageError
from compress.progress import Silent
from tests.support.models import copy_checkpoint, frame_texts


@pytest.fixture
def model(llama):
    return Model.open(llama)


def test_a_file_is_read_as_far_as_it_is_asked_for(model, tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("the quick brown fox jumps over a lazy dog " * 200)
    data = CalibrationInputs(model, file, samples=3, length=20).data
    assert data.inputs.shape == (3, 20)
    assert str(data) == "text.txt, 3 windows of 20 tokens"
    assert CalibrationInputs(model, file, samples=2, length=9999).data.inputs.shape == (2, 128)  # the model's longest


@pytest.mark.parametrize("numbers", [{"samples": 0}, {"samples": -1}, {"length": 0}])
def test_no_samples_are_refused(model, numbers):
    with pytest.raises(UsageError, match="calibration takes one sample of one token at least, not "):
        CalibrationInputs(model, **numbers).check()


def test_what_a_decoder_writes_is_the_same_for_a_seed(model):
    first, again, other = (CalibrationInputs(model, samples=2, length=8, seed=seed).data for seed in (1, 1, 2))
    assert first.origin == "self-written text, seed 1"
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, other.inputs)


def test_an_encoder_reads_words_of_its_vocabulary(bert):
    data = CalibrationInputs(Model.open(bert), samples=2, length=8, seed=3).data
    assert str(data) == "random vocabulary words, seed 3, 2 windows of 8 tokens"


def test_solving_takes_more(model):
    text, images = TextInputs(model, Silent()), ImageInputs(model, Silent())
    sizes = [text.calibration_size(solving, generated) for solving in (False, True) for generated in (False, True)]
    assert sizes == [(16, 256), (16, 256), (128, 512), (64, 512)]
    assert [images.calibration_size(solving, True) for solving in (False, True)] == [(32, 1), (256, 1)]
    assert inputs_class(model) is TextInputs


def test_data_is_read_once(model, monkeypatch):
    inputs = CalibrationInputs(model, samples=1, length=4)
    data = inputs.data
    monkeypatch.setattr(TextInputs, "generate", lambda *args: pytest.fail("generated again"))
    assert inputs.data is data


def test_a_file_that_cannot_be_used_is_refused_by_the_check(model, tmp_path):
    with pytest.raises(UsageError, match="nowhere.txt"):
        CalibrationInputs(model, tmp_path / "nowhere.txt").check()
    with pytest.raises(UsageError, match="--length counts tokens, and .* reads images; remove --length"):
        ImageInputs(model, Silent()).check_length(64)


def test_a_model_without_a_tokenizer_is_a_notice(llama, tmp_path):
    bare = copy_checkpoint(llama, tmp_path / "bare")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (bare / name).unlink()
    progress = Silent()
    CalibrationInputs(Model.open(bare), progress=progress).check()
    assert len(progress.notices) == 1
    assert progress.notices[0].endswith(": the variant can be neither scored nor used to generate text")


def test_windows_begin_as_the_tokenizer_begins_a_text(llama, bert, tmp_path):
    """A decoder's end in the middle of a text, an encoder's as one ends."""
    file = tmp_path / "text.txt"
    file.write_text("the quick brown fox jumps over a lazy dog " * 200)
    decoder = Model.open(frame_texts(copy_checkpoint(llama, tmp_path / "decoder"), "<s> $A </s>"))
    encoder = Model.open(frame_texts(copy_checkpoint(bert, tmp_path / "encoder"), "<s> $A </s>"))
    for model, last in ((decoder, False), (encoder, True)):
        for source in (file, None):
            data = CalibrationInputs(model, source, samples=3, length=20).data
            assert (data.inputs.shape, data.prefix) == ((3, 20), 1)
            assert data.inputs[:, 0].tolist() == [0, 0, 0]
            assert (data.inputs[:, -1].tolist() == [1, 1, 1]) == last


def test_a_short_text_is_used_as_far_as_it_goes_unless_a_number_is_named(model, tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("the quick brown fox jumps over a lazy dog")
    progress = Silent()
    data = CalibrationInputs(model, file, solving=True, progress=progress).data
    tokens = data.inputs.shape[1]
    assert data.inputs.shape[0] == 1
    assert progress.notices == [f"text.txt is short, {tokens} tokens: 1 window of {tokens} instead of 128 of 128"]
    with pytest.raises(UsageError, match=rf"text\.txt has {tokens} tokens, too few for 128 windows of 128; give a lon"):
        CalibrationInputs(model, file, samples=128, solving=True).check()
