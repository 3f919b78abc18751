"""``compress report``: merge the reports of runs, machines and models into one."""

from __future__ import annotations

from pathlib import Path

import click

from compress.benchmarks.report.base import write
from compress.benchmarks.results.report_file import read_cards
from compress.cli.console import Console
from compress.cli.shared.options import overwrite
from compress.errors import UsageError
from compress.system.staging import staged


@click.command("report")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DIR_OR_JSON...")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The directory to make.")
@overwrite
def command(paths: tuple[Path, ...], out: Path, overwrite: bool) -> None:
    """Write one report of what several runs measured.

    The runs are directories that `compress` made, or their report.json. A run that is named twice counts once.
    """
    console = Console()
    cards = [card for path in paths for card in read_cards(path)]
    once = [card for i, card in enumerate(cards) if card not in cards[:i]]
    if out.is_dir() and (others := [each.name for each in out.iterdir() if not each.name.startswith("report.")]):
        raise UsageError(f"{out} holds {others[0]}, which is no report; choose another output directory")
    with staged(out, overwrite) as stage:
        write(once, stage)
    contenders = sum(len(card.rows) for card in once)
    console.say(f"report of {len(once)} runs, {contenders} contenders: {out / 'report.md'}")
