"""Words that a shell completes: passes of a pipeline, profiles, commands."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def complete_passes(context: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Pipelines that go on with a pass, and schemes; each begins with what is typed before the last comma."""
    from compress.pipeline.contract import passes

    before, comma, last = incomplete.rpartition(",")
    names = [name for cls in passes().values() for name in (cls.name, *cls.presets)]
    return [f"{before}{comma}{name}" for name in names if name.lower().startswith(last.lower())]


def complete_profiles(context: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Profiles by name, and files, which may be others."""
    from compress.profiles.loader import profiles

    names = [name for name in profiles() if name.startswith(incomplete)]
    return [*map(CompletionItem, names), CompletionItem(incomplete, type="file")]


def complete_commands(context: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Subcommands of the program."""
    program = context.find_root().command
    names = program.list_commands(context.find_root()) if isinstance(program, click.Group) else []
    return [name for name in names if name.startswith(incomplete)]
