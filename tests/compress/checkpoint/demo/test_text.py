"""The demo's text is the same everywhere, and is split without overlap."""

from __future__ import annotations

import bz2
import hashlib
from pathlib import Path

import pytest

from compress.checkpoint.demo import text as demo_text
from compress.errors import MissingComponentError

MODULE = """
import scipy
RE_P0 = re.compile("<!--.*?-->", re.DOTALL)
def remove_markup(text):
    return RE_P0.sub("", text)
def tokenize(content):
    return utils.tokenize(content)
"""
PAGE = "<page><title>t</title><ns>{}</ns><revision><text>{}</text></revision></page>"
DUMP = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">{}</mediawiki>'


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_without_a_registry_there_is_no_text(cache: Path, no_registry: None) -> None:
    for text in (demo_text.demo_text, demo_text.calibration_text):
        with pytest.raises(MissingComponentError, match=r"^the demo's text needs gensim 4\.4\.0") as caught:
            text()
        assert caught.value.exit_code == 5
    assert not cache.exists()


def test_calibration_and_evaluation_share_nothing(cache: Path, no_registry: None) -> None:
    """What is evaluated on is packaged; the slow test below holds it against the other third."""
    (cache / "wikipedia").mkdir(parents=True)
    (cache / "wikipedia" / "wikipedia.txt").write_text("abcdefghij")
    assert demo_text.calibration_text() == "abcdef"
    assert "abcdef" not in demo_text.evaluation_text()
    assert len(demo_text.evaluation_text()) == 1_026_504


def test_articles_are_neither_redirects_nor_stubs_nor_talk(tmp_path: Path) -> None:
    module, dump = tmp_path / "wikicorpus.py", tmp_path / "dump.bz2"
    module.write_text(MODULE)
    long = "word " * 200
    texts = [(0, f"'''Bold''' &amp;lt;!-- a note --&amp;gt;{long}"), (0, "a stub"), (0, f"#REDIRECT {long}"), (1, long)]
    dump.write_bytes(bz2.compress(DUMP.format("".join(PAGE.format(*text) for text in texts)).encode()))
    assert list(demo_text._articles(dump, demo_text._markup_remover(module))) == [f"Bold {long}".strip()]


@pytest.mark.slow
def test_the_demo_text_is_105_articles() -> None:
    text = demo_text.demo_text()
    assert len(text.split("\n\n\n")) >= 105
    assert text.startswith("{{") or "Anarchism" in text[:5000]
    assert demo_text.calibration_text() + demo_text.evaluation_text() == text
    digest = "33ab9f969956e244ed9a7af78b64ae269dc07e551d1a765ac87434e619a03fbb"
    assert hashlib.sha256(text.encode()).hexdigest() == digest
