"""The demo's text: English Wikipedia articles from gensim's test data, one part to calibrate on and one to evaluate."""

from __future__ import annotations

import bz2
import html
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from compress.checkpoint.demo.model import cache_directory
from compress.checkpoint.demo.wheels import Wheel, unpacked
from compress.corpus.packaged import WIKIPEDIA
from compress.progress import Progress, Silent
from compress.system.staging import staged

_GENSIM = Wheel(
    "gensim",
    "4.4.0",
    "91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8",
    built_for=("manylinux_2_28_x86_64", "3.11"),
)
_DUMP = "gensim/test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
_MARKUP = "gensim/corpora/wikicorpus.py"
_SHORTEST_ARTICLE = 500


def demo_text(progress: Progress | None = None) -> str:
    """105 English Wikipedia articles, fetched on first use.

    Raises MissingComponentError where they are neither in the cache nor in pip's reach.
    """
    path = cache_directory() / "wikipedia"
    file = path / "wikipedia.txt"
    if not file.is_file():
        (progress or Silent()).notice(f"making the demo's text, a Wikipedia sample, in {path} (once)")
        with staged(path, overwrite=True, marker=file.name) as stage, unpacked(_GENSIM, "the demo's text") as package:
            articles = _articles(package / _DUMP, _markup_remover(package / _MARKUP))
            (stage / file.name).write_text("\n\n\n".join(articles), encoding="utf-8")
    return file.read_text(encoding="utf-8")


def calibration_text(progress: Progress | None = None) -> str:
    """The first two thirds of the demo text: what passes may see."""
    text = demo_text(progress)
    return text[: len(text) * 2 // 3]


def evaluation_text() -> str:
    """The last third of the demo text, held out from calibration: what every model is evaluated on by default."""
    return WIKIPEDIA.read_text(encoding="utf-8")


def _articles(dump: Path, remove_markup: Callable[[str], str]) -> Iterator[str]:
    """The plain text of every article of a MediaWiki dump that is no redirect and no stub."""
    with bz2.open(dump) as file:
        for _, page in ElementTree.iterparse(file):
            if not page.tag.endswith("}page"):
                continue
            if page.findtext("{*}ns") == "0":
                text = remove_markup(html.unescape(page.findtext("{*}revision/{*}text") or ""))
                if len(text) > _SHORTEST_ARTICLE and not text.lower().startswith("#redirect"):
                    yield text.replace("'''", "").replace("''", "").strip()
            page.clear()


def _markup_remover(module: Path) -> Callable[[str], str]:
    """gensim's ``remove_markup``, without importing gensim, which needs SciPy and is compiled for one platform.

    Of the module, whose bytes are pinned, only the part is run that removes markup: patterns and functions of text.
    """
    source = module.read_text(encoding="utf-8")
    part = source[source.index("RE_P0 = ") : source.index("def tokenize(")]
    namespace: dict[str, Any] = {"re": re}
    exec(compile(part, module.name, "exec"), namespace)
    remove_markup: Callable[[str], str] = namespace["remove_markup"]
    return remove_markup
