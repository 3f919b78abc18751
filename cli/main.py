"""Entry point of the command line: run a subcommand, turn every failure into one line and an exit code."""

from __future__ import annotations

import difflib
import errno
import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click

from compress.benchmarks.runtime.specs import spec_of_library
from compress.cli.streams import drop_unwritable, prepare_output
from compress.errors import CompressError, ModelError
from compress.escape import printable_line
from compress.system import interrupt
from compress.system.environment import OFFLINE
from compress.version import __version__

_NOTHING_LEFT = "interrupted; no partial output was left behind"
_FLAGS = {"--debug", "--offline"}
_FOLDER = Path(__file__).parent / "commands"


def commands() -> list[str]:
    """The names of all subcommands: the files of ``commands/``."""
    return sorted(file.stem for file in _FOLDER.glob("[!_]*.py"))


def _summary(name: str) -> str:
    """A subcommand's help in a line, its file's first one: read and not imported, as help must not wait for torch."""
    with (_FOLDER / f"{name}.py").open(encoding="utf-8") as file:
        return file.readline().strip('"\n')


class Commands(click.Group):
    """Subcommands, each in a file of its own that is imported only when it runs.

    Where the first word is not a subcommand it is a model, and the subcommand is ``run``.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all subcommands."""
        return commands()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand of that name."""
        if cmd_name not in commands():
            return None
        command: click.Command = import_module(f"compress.cli.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _summary(name)) for name in commands()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert ``run`` where the first word that is not an option is not a subcommand."""
        own = {option for param in self.params for option in param.opts} | set(ctx.help_option_names)
        if not args:
            args = ["--help"]
        first = next((i for i, arg in enumerate(args) if arg not in own), None)
        if first is not None and args[first] not in commands():
            args = [*args[:first], "run", *args[first:]]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; of an interrupt in it click makes an empty line, but of `Abort` nothing."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise click.exceptions.Abort from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="compress")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure; for any command.")
@click.option("--offline", is_flag=True, help="Fetch nothing from anywhere; for any command.")
def cli(debug: bool, offline: bool) -> None:
    """Compress Hugging Face checkpoints, export them to a runtime, and measure what was gained and lost.

    \b
    compress demo:smollm2 --pipeline int8,fuse
    compress ./my-model -p int8,fuse -p fuse -o out/
    """


def main() -> NoReturn:
    """Run the command line and exit.

    Exit codes: 0 done, 1 a requirement was not met, 2 usage, 3 model, 4 any other failure, 5 a component is missing,
    130 interrupted.
    """
    interrupt.listen()
    prepare_output()
    args, flags = _split_flags(sys.argv[1:])
    debug = "--debug" in flags
    if "--offline" in flags:
        os.environ.update(OFFLINE)
    try:
        code = cli.main(args, prog_name="compress", standalone_mode=False)
        sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        interrupt.ignore()  # the program ends: who presses Ctrl-C twice needs no traceback of that
        code = _fail(*_explain(error, args), debug)
    drop_unwritable()
    sys.exit(code if isinstance(code, int) else 0)


def _split_flags(words: list[str]) -> tuple[list[str], set[str]]:
    """The command line without the program's own flags, which may stand anywhere before ``--``; and those flags."""
    end = words.index("--") if "--" in words else len(words)
    args = [word for word in words[:end] if word not in _FLAGS]
    return args + words[end:], _FLAGS.intersection(words[:end])


def _explain(error: BaseException, args: list[str]) -> tuple[str, int]:
    """What to tell of a failure, in one line, and its exit code."""
    if isinstance(error, click.exceptions.Abort) and error.__cause__ is not None:
        error = error.__cause__  # click makes an error of its own of an interrupt, and of an end of file
    match error:
        case KeyboardInterrupt() | click.exceptions.Abort():
            return "; ".join(filter(None, [_NOTHING_LEFT, str(error)])), interrupt.EXIT_CODE
        case click.ClickException():
            return _one_line(error.format_message()) + _command_hint(args), 2
        case CompressError():
            hint = _command_hint(args) if isinstance(error, ModelError) else ""
            return _one_line(str(error)) + hint, error.exit_code
        case ImportError():
            return _missing_package(error), 5
        case OSError(errno=errno.ENAMETOOLONG):
            return f"{error.filename}: the name is too long for a file; give another", 2
        case OSError():
            hint = "; free disk space or choose another output" if error.errno == errno.ENOSPC else ""
            return _one_line(str(error)) + hint, 4
    return f"{type(error).__name__}: {_one_line(str(error))} (unexpected; --debug shows the traceback)", 4


def _fail(text: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    if interrupt.heard() and code != interrupt.EXIT_CODE:  # another library may have made an error of its own of it
        text, code = _NOTHING_LEFT, interrupt.EXIT_CODE
    if code == interrupt.EXIT_CODE and sys.stderr.isatty():
        click.echo(err=True)  # behind the terminal's own ^C
    click.echo(printable_line(f"compress: {text}"), err=True)
    return code


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _command_hint(args: list[str]) -> str:
    """What the first word may be instead of a model: a typo of a subcommand, or a pipeline; else nothing."""
    first = args[0] if args else ""
    if first in commands() or os.path.exists(first):
        return ""
    if similar := difflib.get_close_matches(first, commands(), n=1, cutoff=0.7):
        return f" Did you mean the command {similar[0]!r}?"
    from compress.pipeline.parse import Pipeline

    try:
        Pipeline.parse(first)
    except CompressError:
        return ""
    return f" {first!r} is a pipeline, not a model; write compress MODEL -p {first}"


def _missing_package(error: ImportError) -> str:
    """The command that installs a missing library."""
    name = (error.name or "").partition(".")[0]
    if (engine := spec_of_library(name)) is not None:
        return f"{name} is not installed: {engine.install}"
    return f"{_one_line(str(error))}: the installation is incomplete; pip install compress-models again"
