"""Show the help of the program, or of a command."""

from __future__ import annotations

import click

from compress.cli.shared.completion import complete_commands
from compress.errors import unknown


@click.command("help")
@click.argument("name", required=False, metavar="[COMMAND]", shell_complete=complete_commands)
@click.pass_context
def command(context: click.Context, name: str | None) -> None:
    """Show the help of the program, or of COMMAND."""
    program = context.find_root()
    assert isinstance(program.command, click.Group)
    if name is None:
        click.echo(program.get_help())
        return
    chosen = program.command.get_command(program, name)
    if chosen is None:
        raise unknown("command", name, program.command.list_commands(program))
    with click.Context(chosen, info_name=name, parent=program) as own:
        click.echo(own.get_help())
