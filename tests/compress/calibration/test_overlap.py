"""Overlap of evaluation windows with calibration windows, from a sketch."""

import random

import pytest
import torch

from compress.calibration.data import Calibration
from compress.calibration.overlap import Overlap, Sketch

STREAM = torch.randint(1000, (200_000,), generator=torch.Generator().manual_seed(0))


def cut(stream, count, length, begin=0, prefix=0):
    """Windows spread over a stream from a token on, each begun by so many of the same."""
    step = max(length, (len(stream) - begin) // count)
    rows = torch.stack([stream[begin + i * step : begin + i * step + length] for i in range(count)])
    return Calibration(torch.cat([torch.zeros(count, prefix, dtype=torch.int64), rows], 1), "x", prefix)


@pytest.fixture(params=[(16, 256), (128, 512)], ids=str)
def calibration(request):
    return cut(STREAM[:100_000], *request.param, prefix=1)


def test_the_same_text_is_noticed(calibration):
    sketch = Sketch.of(calibration)
    assert len(sketch.hashes) == 2048
    assert Sketch.decode(sketch.encode()).hashes.tolist() == sketch.hashes.tolist()
    overlap = sketch.overlap(cut(STREAM[:100_000], 8, 512))
    assert overlap.windows >= 1
    assert overlap


def test_another_text_is_not(calibration):
    assert Sketch.of(calibration).overlap(cut(STREAM, 8, 512, 100_000)) == Overlap(0, 8, 0.0)


def test_a_shuffled_text_is_noticed(calibration):
    """Lines of 30 tokens."""
    lines = list(STREAM[:100_000].split(30))
    random.Random(0).shuffle(lines)
    assert Sketch.of(calibration).overlap(cut(torch.cat(lines), 8, 512))


def test_a_text_that_is_the_same_in_part_is_noticed():
    sketch = Sketch.of(cut(STREAM[:100_000], 128, 512))
    assert sketch.overlap(cut(torch.cat([STREAM[150_000:190_000], STREAM[:60_000]]), 8, 512))
    assert sketch.overlap(cut(STREAM[100:100_000], 8, 512))


def test_what_a_template_repeats_is_no_overlap():
    """A prompt of 40 tokens before each of many short chats, on both sides."""
    prompt = STREAM[:40]
    chats = [torch.cat([torch.cat([prompt, chat]) for chat in part.split(80)]) for part in STREAM[100:].split(90_000)]
    assert not Sketch.of(cut(chats[0], 128, 512)).overlap(cut(chats[1], 8, 512))


def test_one_sentence_over_and_over_is_noticed():
    assert Sketch.of(cut(STREAM[:14].repeat(1000), 4, 64)).overlap(cut(STREAM[:14].repeat(500), 4, 64, begin=3))


WORDS = [f"{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{i}" for i in STREAM[:20_000].tolist()]


def saying(text, count, length):
    """Windows of so many characters, spread over a text; its tokens are of no use."""
    step = len(text) // count
    texts = [text[i * step : i * step + length] for i in range(count)]
    return Calibration(torch.randint(1000, (count, 60)), "x", texts=texts)


@pytest.mark.parametrize(
    "separators",
    [("\r\n",), ("  ",), ("\n",), (", ", "\n\n"), ("\u00a0",)],
    ids=repr,
)
def test_the_same_text_in_another_form_is_noticed(separators):
    """Other ends of lines, blanks, punctuation; upper case."""
    sketch = Sketch.of(saying(" ".join(WORDS), 16, 1200))
    other = "".join(f"{word.upper()}{separators[i // 20 % len(separators)]}" for i, word in enumerate(WORDS))
    assert sketch.overlap(saying(other, 8, 20_000))
    assert not sketch.overlap(saying(other[::-1], 8, 20_000))


def test_the_calibration_somewhere_in_a_long_evaluation_is_noticed():
    """Less than 2 % of the evaluation, and no window, but all that there was to calibrate on, shuffled."""
    words = WORDS[:600]
    sketch = Sketch.of(saying(" ".join(words), 4, 700))
    parts = [" ".join(words[i : i + 30]) for i in range(0, 600, 30)]
    other = WORDS[600:]
    long = " ".join(" ".join(other[i * 900 : (i + 1) * 900]) + " " + part for i, part in enumerate(parts))
    overlap = sketch.overlap(saying(long, 2, len(long) // 2))
    assert (overlap.windows, overlap.share < 0.04, overlap.calibrated > 0.5) == (0, True, True)
    assert Overlap(0, 2, 0.01, 0.5).described("windows") == "50% of the calibration's text"
    assert overlap


def test_tokens_are_compared_where_the_text_is_not_known():
    known = Calibration(STREAM[:640].view(10, 64), "x", texts=["a word"] * 10)
    assert Sketch.of(Calibration(known.inputs, "x")).overlap(known)


def test_how_much_overlaps():
    assert Overlap(3, 8, 0.5).described("images") == "3 of 8 images"
    assert Overlap(0, 8, 0.051).described("windows") == "5% of it"


def test_images_are_compared_one_by_one():
    images = torch.randn(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    sketch = Sketch.of(Calibration(images[:20], "x"))
    assert sketch.overlap(Calibration(images[19:], "x")) == Overlap(1, 21, 0.0)
    assert not sketch.overlap(Calibration(images[20:], "x"))


def test_what_has_no_sketch_overlaps_nothing():
    for sketch in (Sketch.decode(""), Sketch.decode("no base64"), Sketch.of(cut(STREAM, 4, 8))):
        assert not sketch.overlap(cut(STREAM, 4, 64))
    assert not Sketch.of(cut(STREAM, 4, 64)).overlap(cut(STREAM, 4, 8))
