"""mkdocs hooks: pages and scripts of the repository's root join the site, by links that are right in both places."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = Path(__file__).parent
ROOT = DOCS.parent
JOINED = ("CONTRIBUTING.md", "CHANGELOG.md", "examples/*.py")
"""What lies outside of ``docs/`` and is part of the site, under the same path."""
LINK = re.compile(r"\]\(([^)\s#:]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is joined."""
    for path in sorted(path for pattern in JOINED for path in ROOT.glob(pattern)):
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let a page's links, which are right in the repository, be right in the site."""
    folder = Path(str(page.file.abs_src_path)).parent

    def in_site(link: re.Match[str]) -> str:
        target = (folder / link[1]).resolve()
        if not target.exists():
            return link[0]  # the strict build says so
        place = target.relative_to(DOCS if target.is_relative_to(DOCS) else ROOT).as_posix()
        return f"]({posixpath.relpath(place, posixpath.dirname(page.file.src_uri))}{link[2] or ''})"

    return LINK.sub(in_site, markdown)
