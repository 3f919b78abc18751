"""Options that several subcommands share."""

from pathlib import Path

import click

evaluation_file = click.option(
    "--eval",
    "evaluation",
    type=click.Path(path_type=Path),
    help="Text (or JSON lines) to measure accuracy on.  [default: a demo's held-out text, else self-written]",
)
merge = click.option(
    "--merge", is_flag=True, help="Store products (lowrank, compensate) multiplied out, for targets without them."
)
seed = click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**31 - 2), help="Of everything random."
)
overwrite = click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
trust_remote_code = click.option(
    "--trust-remote-code", is_flag=True, help="Accept pickled weights, and checkpoints that bring code (not run)."
)
require = click.option(
    "--require", multiple=True, metavar="LIST",
    help='What every variant must meet, or exit 1: "retention>=0.98, decode_speedup>=1.5, bytes<=0.3x, peak_rss<2GB".',
)  # fmt: skip
strict = click.option("--strict", is_flag=True, help="What lies inside the noise fails too.")
profile = click.option(
    "--profile", default="cpu", show_default=True, help="A machine's profile: its name or a TOML file."
)  # fmt: skip
