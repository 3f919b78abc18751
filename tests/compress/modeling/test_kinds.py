"""Kinds of models: their rows, and their names in JSON."""

import pytest
from pydantic import BaseModel, ValidationError

from compress.modeling.kinds import DECODER, IMAGE_CLASSIFIER, KINDS, SEQ2SEQ, TaskKind


class Holder(BaseModel):
    kind: TaskKind


def test_json_holds_the_name_alone():
    assert Holder(kind=SEQ2SEQ).model_dump_json() == '{"kind":"encoder-decoder"}'
    assert Holder.model_validate_json('{"kind":"image-classifier"}').kind is IMAGE_CLASSIFIER
    assert Holder(kind="decoder").kind is DECODER
    with pytest.raises(ValidationError, match="'decoder', 'encoder'"):
        Holder(kind="poet")


def test_only_one_kind_is_a_decoder_alone():
    assert [name for name, kind in KINDS.items() if kind.is_decoder_only] == ["decoder"]
    assert [str(kind) for kind in KINDS.values()] == list(KINDS)
