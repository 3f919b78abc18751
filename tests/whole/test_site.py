"""The docs as a site: built strictly, complete in itself, and opened in a real browser, where a search finds pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlparse

import pytest

from tests.support.browser import browse, needs_browser

pytest.importorskip("material", reason="mkdocs-material is not installed: pip install -e '.[docs]'")
ROOT = Path(__file__).parents[2]
# What a reader does: opens the page with a word to search for. The picture keeps the browser until there are results.
READER = """
<iframe src="index.html?q=perplexity" style="width: 1200px; height: 900px"></iframe><img src="/hold">
<script>
const timer = setInterval(() => {
  const links = [...frames[0].document.querySelectorAll(".md-search-result__link")].map((link) => link.href);
  if (links.length) { clearInterval(timer); fetch("/results", {method: "POST", body: links.join("\\n")}); }
}, 100);
</script>
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every page, built as `make docs` builds them."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(out)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return out


def test_every_page_is_there(site: Path) -> None:
    pages = {page.relative_to(ROOT / "docs").with_suffix(".html") for page in (ROOT / "docs").rglob("*.md")}
    pages |= {Path("CONTRIBUTING.html"), Path("CHANGELOG.html")}
    assert {page for page in pages if not (site / page).is_file()} == set()
    assert not (site / "hooks.py").exists()


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """Scripts, styles, fonts and pictures are the site's own; links may lead away."""
    for page in site.rglob("*.html"):
        tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page.read_text())
        sources = [url for tag in tags for url in re.findall(r'(?:src|href)="([^"]*)"', tag)]
        assert [url for url in sources if "//" in url] == [], page
    assert [style for style in site.rglob("*.css") if re.search(r"url\(\W?(https?:)?//", style.read_text())] == []


def test_links_of_joined_pages_lead_to_pages(site: Path) -> None:
    """In the repository they lead to files, some of them in ``docs/``."""
    links = re.findall(r'href="([^"#]+)', (site / "CONTRIBUTING.html").read_text())
    assert "architecture.html" in links
    assert not [link for link in links if link.endswith(".md")]


class Server(ThreadingHTTPServer):
    """The site, the reader, and what the reader reports."""

    def __init__(self, site: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(site)))
        self.results: list[str] = []
        self.done = Event()


class Handler(SimpleHTTPRequestHandler):
    """Files of the site, and three requests of the reader."""

    server: Server

    def do_GET(self) -> None:
        """A file; the reader's own page; or nothing, once there are results."""
        if self.path == "/reader.html":
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(READER.encode())
        elif self.path == "/hold":
            self.server.done.wait(60)
            self.send_error(404)
        else:
            super().do_GET()

    def do_POST(self) -> None:
        """The links that a search found."""
        length = int(self.headers["Content-Length"])
        self.server.results = self.rfile.read(length).decode().splitlines()
        self.server.done.set()
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[Server]:
    """The site, served."""
    with Server(site) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@needs_browser
def test_the_site_opens_in_a_browser(server: Server, tmp_path: Path) -> None:
    page = browse(tmp_path, "--dump-dom", f"http://127.0.0.1:{server.server_port}/guide.html")
    assert re.search(r"<h1[^>]*>Guide<", page)
    assert 'data-js-focus-visible=""' in page  # the theme's script has run


@needs_browser
def test_a_search_finds_pages(server: Server, tmp_path: Path) -> None:
    browse(tmp_path, "--dump-dom", f"http://127.0.0.1:{server.server_port}/reader.html")
    assert "/metrics.html" in {urlparse(link).path for link in server.results}
