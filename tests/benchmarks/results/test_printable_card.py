"""A card for people: text without controls, the same figures."""

from compress.benchmarks.results.printable_card import printable_card
from tests.support.cards import BASE, INT8

ESCAPE = "\x1b[31m"


def test_all_text_is_printable_and_figures_stay(card):
    scored = card(model=ESCAPE, processor=ESCAPE, torch=BASE, onnx=BASE, **{ESCAPE: INT8 | {f"{ESCAPE}.acc": 0.5}})
    facts = {"command": ESCAPE, "notes": (ESCAPE,), "doubts": (ESCAPE,), "tasks": {f"{ESCAPE}.acc": "higher"}}
    scored = scored.model_copy(update=facts | {"versions": {ESCAPE: ESCAPE}, "seconds": {ESCAPE: 1.0}})
    shown = printable_card(scored)
    assert ESCAPE not in repr(shown.model_dump()) and "\x1b" not in str(shown.model_dump())
    assert shown.rows[2].name == r"\x1b[31m"
    assert shown.rows[2].passes[0].text == r"\x1b[31m"
    assert shown.tasks == {r"\x1b[31m.acc": "higher"}
    assert [list(row.measures.values()) for row in shown.rows] == [list(row.measures.values()) for row in scored.rows]


def test_a_card_without_controls_is_the_same(card):
    scored = card(torch=BASE, onnx=BASE, int8=INT8)
    assert printable_card(scored) == scored
