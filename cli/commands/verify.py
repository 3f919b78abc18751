"""Hold variants against what was recorded when they were made."""

from __future__ import annotations

from pathlib import Path

import click

from compress.checkpoint.files.manifest import Manifest
from compress.cli.console import Console
from compress.cli.shared.options import FilePath, trust_remote_code
from compress.errors import ModelError, UsageError


@click.command("verify")
@click.argument("paths", nargs=-1, required=True, type=FilePath(), metavar="VARIANT...")
@click.option("--model", help="The original model, if it has moved since the variants were made.")
@trust_remote_code
def command(paths: tuple[Path, ...], model: str | None, trust_remote_code: bool) -> None:
    """Hold variants against what was recorded when they were made.

    Compares weights, config, tokenizer and every artifact's files with the hashes in the manifest, and the original
    where it is at hand (nothing is fetched). One line per finding; exits with code 3 if there is one. Reports among the
    arguments are ignored, so out/* works.
    """
    console = Console()
    broken = 0
    folders = [path for path in paths if not path.name.startswith("report.")]
    if not folders:
        raise UsageError("no variant among the arguments; give directories that `compress run` wrote")
    for path in folders:
        Manifest.read(path)  # before torch is waited for

    from compress.api.verify import verify

    for path in folders:
        result = verify(path, model, trust_remote_code, console)
        for problem in result.problems:
            console.line(f"{path}: {problem}")
        if not result.problems:
            console.line(f"{path}: as recorded: {result.compared}")
        broken += bool(result.problems)
    if broken:
        raise ModelError(f"{broken} of {len(folders)} variants are not as they were made; make or export them again")
