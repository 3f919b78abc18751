"""The bar of work with countable steps: what it shows."""

import io

from rich.console import Console as Terminal

from compress.cli.progress_bar import new_bar


def test_a_bar_shows_count_and_rate():
    screen = io.StringIO()
    bar = new_bar(Terminal(file=screen, force_terminal=True, width=100), "windows")
    task = bar.add_task("calibrating", total=4)
    assert screen.getvalue() == ""
    bar.start()
    for _ in range(4):
        bar.advance(task)
    bar.stop()
    assert "calibrating" in screen.getvalue()
    assert "4/4" in screen.getvalue()
    assert "windows/s" in screen.getvalue()
