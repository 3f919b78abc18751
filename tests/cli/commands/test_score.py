"""``compress score``: variants measured again, in other settings than those of their run."""

from __future__ import annotations

import shutil

import pytest

from compress.benchmarks.results.fusion_gain import gains
from compress.benchmarks.results.report_file import read_card
from compress.benchmarks.runtime.decoding import Sampling


@pytest.mark.slow
def test_variants_are_scored_again(variants, tmp_path, inside):
    out = shutil.copytree(variants, tmp_path / "out")
    (out / "report.md").write_text("an earlier report\n")  # among the arguments, where it is ignored
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over a lazy dog while seven wizards box daily " * 400)
    require = ("--require", "kl<=9, disk_bytes<=1B")
    more = ("--seq", "126", "--batch", "2", "--beams", "2", "--sample", "top_k=5,temperature=0.8")
    done = inside("score", *sorted(out.iterdir()), "--eval", text, *require, *more)
    assert done.returncode == 1, done.stderr
    assert "gate: 3 failed, 3 passed" in done.stdout
    assert "requirement not met: fp16-fuse: disk_bytes<=1B" in done.stderr
    assert "an earlier report" not in (out / "report.md").read_text()
    card = read_card(out)
    assert card.settings.sampling == Sampling(top_k=5, temperature=0.8)
    assert card.settings.steps_after(126) == 2
    for row in card.rows:
        assert {"beam_tps", "sample_tps", "load_rss", "prefill_rss", "decode_rss"} <= row.measures.keys()
        assert [(cell.length, cell.batch, "decode_tps" in cell.measures) for cell in row.cells] == [(126, 2, True)]
    assert {gain.row for gain in gains(card)} == {"fuse"}
    assert "time to first token, ms" in done.stdout and "126 tokens × 2" in done.stdout
