"""Merge the reports of several runs, machines or models into one."""

from __future__ import annotations

from pathlib import Path

import click

from compress.cli.console import Console
from compress.cli.shared.options import FilePath, overwrite
from compress.errors import UsageError
from compress.system.file_set import finish_files
from compress.system.staging import staged


@click.command("report")
@click.argument("paths", nargs=-1, required=True, type=FilePath(), metavar="DIR_OR_JSON...")
@click.option("-o", "--out", required=True, type=FilePath(), help="Directory of the merged report.")
@overwrite
def command(paths: tuple[Path, ...], out: Path, overwrite: bool) -> None:
    """Merge the reports of several runs, machines or models into one.

    Arguments are directories that `compress` wrote, or their report.json files. The same run counts once.
    """
    from compress.benchmarks.report.base import write
    from compress.benchmarks.results.report_file import read_cards

    console = Console()
    cards = [card for path in paths for card in read_cards(path)]
    distinct = [card for i, card in enumerate(cards) if card not in cards[:i]]
    if out.is_dir():
        finish_files(out)
    foreign = [file.name for file in out.iterdir() if not file.name.startswith("report.")] if out.is_dir() else []
    if foreign:
        raise UsageError(f"{out} contains {foreign[0]}, which is not part of a report; choose another output directory")
    with staged(out, overwrite) as stage:
        write(distinct, stage)
    contenders = sum(len(card.rows) for card in distinct)
    runs = f"{len(distinct)} run{'s' if len(distinct) != 1 else ''}"
    console.say(f"report of {runs}, {contenders} contenders: {out / 'report.md'}")
