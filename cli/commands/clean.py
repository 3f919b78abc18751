"""Remove what killed runs left behind."""

from __future__ import annotations

import os
from pathlib import Path

import click

from compress.cli.console import Console
from compress.cli.shared.options import FilePath
from compress.errors import UsageError
from compress.system.file_set import finish_files
from compress.system.leftovers import is_leftover, put_right


@click.command("clean")
@click.argument("folders", nargs=-1, required=True, type=FilePath(), metavar="DIR...")
def command(folders: tuple[Path, ...]) -> None:
    """Remove what killed runs left in DIR and the directories in it: outputs that were never finished.

    An output that was set aside while another took its place comes back. What a running process uses stays.
    """
    console = Console()
    if missing := next((folder for folder in folders if not folder.is_dir()), None):
        raise UsageError(f"{missing} is no directory; give those that `compress` was to write to")
    removed = freed = 0
    for folder in folders:
        for parent, names, _ in os.walk(folder):
            names[:] = [name for name in names if not is_leftover(name)]
            count, nbytes = put_right(Path(parent))
            removed, freed = removed + count + finish_files(Path(parent)), freed + nbytes
    counted = f"{removed} leftover{'s' if removed != 1 else ''}"
    console.out.print(f"removed {counted}, which frees {freed / 1e6:.1f} MB" if removed else "nothing to remove")
