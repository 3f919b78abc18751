from hashlib import sha256
from typing import ClassVar, Literal

import pytest
from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.errors import UsageError
from compress.pipeline import contract
from compress.pipeline.contract import WeightPass, choices
from compress.pipeline.parse import Pipeline, parse_pass
from compress.weights.forms import Dense, Factored, Masked


@pytest.fixture
def squeeze(monkeypatch):
    """A pass with words, numbers, free text and schemes, known during one test."""
    monkeypatch.setattr(contract, "_registry", dict(contract._registry))

    @dataclass(frozen=True)
    class Squeeze(WeightPass):
        """Does nothing."""

        name: ClassVar[str] = "squeeze"
        produces: ClassVar[tuple[type, ...]] = (Dense,)
        presets: ClassVar[dict[str, str]] = {"S4A16": "group=128", "S4A16_ASYM": "group=128:asym"}

        group: Literal["32", "128", "channel"] = "32"
        symmetry: Literal["sym", "asym"] = "sym"
        smooth: Literal["awq", "off"] = "off"
        mismatch: Literal["on", "off"] = "on"
        mixed: float | None = Field(None, gt=0)
        skip: str = ""

        def apply(self, name, weight, stats):
            return weight

    return Squeeze


def test_a_pipeline_reads_back_as_it_was_written():
    assert str(Pipeline.parse("fp16, int8:group=32,fuse")) == "fp16,int8:group=32,fuse"
    assert str(Pipeline.parse("int8:act=auto,fuse")) == "int8,fuse"


def test_slug_names_a_directory():
    assert Pipeline.parse("int8:group=32,fuse").slug == "int8-group-32-fuse"


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("squeeze:skip=*.down_proj+lm_head", "squeeze-skip-_.down_proj_lm_head"),
        ("squeeze:skip=../ä", "squeeze-skip-..__"),
        ("squeeze:skip=" + "x" * 300, "squeeze-skip-" + "x" * 107),
    ],
)
def test_a_slug_holds_only_what_a_file_name_may(squeeze, text, slug):
    assert Pipeline.parse("squeeze:mixed=4.5,fuse").slug == "squeeze-mixed-4.5-fuse"
    assert Pipeline.parse(text).slug == f"{slug}-{sha256(text.encode()).hexdigest()[:8]}"


def test_different_pipelines_have_different_slugs(squeeze):
    skips = ["a+b", "a*b", "a/b", "a-b", "a_b", "a b", "x" * 200, "x" * 201]
    assert len({Pipeline.parse(f"squeeze:skip={skip}").slug for skip in skips}) == len(skips)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("squeeze:asym", "squeeze:symmetry=asym"),
        ("squeeze:channel:awq:asym", "squeeze:group=channel:symmetry=asym:smooth=awq"),
        ("squeeze:128:mixed=4.5", "squeeze:group=128:mixed=4.5"),
        ("squeeze:sym", "squeeze"),
        ("S4A16", "squeeze:group=128"),
        ("s4a16", "squeeze:group=128"),
        ("S4A16_ASYM", "squeeze:group=128:symmetry=asym"),
        ("S4A16_ASYM:32:awq", "squeeze:symmetry=asym:smooth=awq"),
        ("S4A16:group=channel", "squeeze:group=channel"),
        ("SQUEEZE", "squeeze"),
    ],
)
def test_words_and_schemes_stand_for_options(squeeze, text, canonical):
    read = parse_pass(text)
    assert isinstance(read, squeeze)
    assert str(read) == canonical
    assert parse_pass(canonical) == read


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("squeeze:off", "pass 'squeeze': 'off' is a value of several options; write smooth=off or mismatch=off"),
        ("squeeze:asim", "unknown word of 'squeeze' 'asim'; did you mean 'asym'?"),
        ("squeeze:ASYM", "unknown word of 'squeeze' 'ASYM'; did you mean 'asym'?"),
        ("squeeze:4.5", "unknown word of 'squeeze' '4.5'; known: 128, 32, asym, awq, channel, group, mismatch, mixed, "
         "off, on, skip, smooth, sym, symmetry"),
        ("squeeze:mixed", "pass 'squeeze': option 'mixed' has no value; write it like mixed=value"),
        ("squeeze:", "pass 'squeeze': a colon has no option behind it; remove it, or name one of group, symmetry, "
         "smooth, mismatch, mixed, skip"),
        ("squeeze::asym", "pass 'squeeze': a colon has no option behind it; remove it, or name one of group, symmetry, "
         "smooth, mismatch, mixed, skip"),
        ("squeeze:=32", "pass 'squeeze': a colon has no option behind it; remove it, or name one of group, symmetry, "
         "smooth, mismatch, mixed, skip"),
        ("squeeze:asym:symmetry=sym", "pass 'squeeze': option 'symmetry' is given twice"),
        ("squeeze:asym:asym", "pass 'squeeze': option 'symmetry' is given twice"),
        ("S4A16:32:group=128", "pass 'S4A16': option 'group' is given twice"),
        ("S4A16:mixed=-1", "pass 'S4A16': mixed=-1: it should be greater than 0"),
        ("s4a61", "unknown pass 's4a61'; did you mean 'S4A16'?"),
        ("sqeeze", "unknown pass 'sqeeze'; did you mean 'squeeze'?"),
        ("bf16:asym", "pass 'bf16' has no options"),
    ],
)  # fmt: skip
def test_a_word_that_says_nothing_is_refused(squeeze, text, message):
    with pytest.raises(UsageError) as error:
        parse_pass(text)
    assert str(error.value) == message


def test_choices_are_an_options_words(squeeze):
    assert {key: choices(option) for key, option in squeeze.options().items()} == {
        "group": ("32", "128", "channel"),
        "symmetry": ("sym", "asym"),
        "smooth": ("awq", "off"),
        "mismatch": ("on", "off"),
        "mixed": (),
        "skip": (),
    }


@pytest.mark.parametrize("text", ["int8,fuse", "fuse,int8", "fuse", "fp16,int8", "bf16,fuse"])
def test_orders_that_work(text):
    assert str(Pipeline.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("itn8", "unknown pass 'itn8'; did you mean 'int8'?"),
        ("int8:grop=32", "unknown option of 'int8' 'grop'; did you mean 'group'?"),
        ("int8:group=33", "pass 'int8': group=33: it should be 'auto', 'channel', '32', '64' or '128'"),
        ("int8:fallback=-1", "pass 'int8': fallback=-1: it should be greater than or equal to 0"),
        ("int8:group", "pass 'int8': option 'group' has no value; write it like group=value"),
        ("int8:group=32:group=64", "pass 'int8': option 'group' is given twice"),
        ("fp16:x=1", "pass 'fp16' has no options"),
        ("int8,,fuse", "pipeline 'int8,,fuse' has an empty pass; write it like int8:group=32,fuse"),
    ],
)
def test_a_mistake_is_named_with_its_remedy(text, message):
    with pytest.raises(UsageError) as error:
        Pipeline.parse(text)
    assert str(error.value) == message
    assert error.value.exit_code == 2


def test_an_impossible_order_is_refused_with_the_one_that_works():
    with pytest.raises(UsageError, match="int8 may leave Quantized; this order works: fp16,int8,fuse"):
        Pipeline.parse("int8,fp16,fuse")


def test_passes_that_never_fit_together_are_refused():
    with pytest.raises(UsageError, match="no other order works"):
        Pipeline.parse("int8,int8")


@pytest.fixture
def forms(monkeypatch):
    """Passes that say only which forms they take and leave: ``thin`` (Masked) and ``split`` (Factored)."""
    monkeypatch.setattr(contract, "_registry", dict(contract._registry))

    class Thin(WeightPass):
        name: ClassVar[str] = "thin"
        accepts: ClassVar[tuple[type, ...]] = (Dense, Masked, Factored)
        produces: ClassVar[tuple[type, ...]] = (Masked,)

        def apply(self, name, weight, stats):
            return weight

    class Split(Thin):
        name: ClassVar[str] = "split"
        accepts: ClassVar[tuple[type, ...]] = (Dense,)
        produces: ClassVar[tuple[type, ...]] = (Factored,)


@pytest.mark.parametrize("text", ["split,thin,int4", "split,fp16,int8", "thin,thin", "thin,bf16,int4,fuse"])
def test_forms_add_up_along_the_way(forms, text):
    assert str(Pipeline.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("thin,split", "split works on Dense weights, but thin may leave Masked; this order works: split,thin"),
        ("split,int4,thin", "thin works on Dense, Masked, Factored weights, but int4 may leave Quantized; this order "
         "works: split,thin,int4"),
        ("split,fp16,split", "split works on Dense weights, but split may leave Factored, and no other order works; "
         "leave one of them out"),
        ("int4,int8", "int8 works on Dense, Masked, Factored weights, but int4 may leave Quantized, and no other order "
         "works; leave one of them out"),
    ],
)  # fmt: skip
def test_an_earlier_passs_form_is_met_later_too(forms, text, message):
    with pytest.raises(UsageError) as error:
        Pipeline.parse(text)
    assert str(error.value) == f"pipeline {text}: {message}"


@pytest.mark.parametrize("count", [11, 100])
def test_any_number_of_passes_is_put_into_order_at_once(count):
    words = ["int8", *["fp16"] * (count - 3), "sparse", "lowrank:rank=0.5"]
    with pytest.raises(UsageError) as error:
        Pipeline.parse(",".join(words))
    works = str(error.value).partition("this order works: ")[2]
    assert works == ",".join([*["fp16"] * (count - 3), "lowrank:rank=0.5", "sparse", "int8"])
    assert str(Pipeline.parse(works)) == works
    with pytest.raises(UsageError, match="no other order works"):
        Pipeline.parse(",".join(["int8", "int4"] * (count // 2)))


def test_what_works_on_the_whole_model_comes_last():
    with pytest.raises(UsageError, match=r"this order works: fp16,int8,tune:scope=model"):
        Pipeline.parse("tune:scope=model,int8,fp16")
    with pytest.raises(UsageError, match="no other order works"):
        Pipeline.parse("tune:scope=model,tune:scope=model")
