"""Reports for programs: everything that was measured."""

import json

from compress.benchmarks.results.scorecard import Scorecard
from tests.support.cards import ONNX, QUANTIZED, TORCH


def test_one_run_is_its_scorecard_and_several_are_a_list_of_them(card, render):
    run, other = card(torch=TORCH, onnx=ONNX, int8=QUANTIZED), card(model="other", torch=TORCH)
    single, both = json.loads(render("json", run)), json.loads(render("json", run, other))
    assert Scorecard.model_validate(single) == run
    assert single["rows"][2]["measures"]["decode_tps"]["launches"] == [[rate] for rate in QUANTIZED["decode_tps"]]
    assert [Scorecard.model_validate(document) for document in both["cards"]] == [run, other]
