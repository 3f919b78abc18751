"""The command ``compress``: finds the subcommand, and turns every failure into one line and an exit code."""

from __future__ import annotations

import ast
import difflib
import errno
import os
import sys
import traceback
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import click

from compress.errors import CompressError
from compress.system import interrupt
from compress.version import __version__

INTERRUPTED = 130
_INTERRUPTED = "interrupted; nothing half-written was left behind"


@cache
def commands() -> dict[str, str]:
    """Every subcommand with its help in a line: the modules of this room that begin with ``compress NAME`` and a colon.

    They are read, not imported: help must not wait for torch.
    """
    found = {}
    for file in sorted((Path(__file__).parent / "commands").glob("[!_]*.py")):
        title = f"``compress {file.stem}``: "
        summary = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        if summary.startswith(title):
            summary = summary.removeprefix(title)
            found[file.stem] = summary[0].upper() + summary[1:]
    return found


class Commands(click.Group):
    """Subcommands, each in a module of its own that is imported only when it is asked for.

    Where the first word is no subcommand it is a model, and the subcommand is ``run``.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every subcommand."""
        return list(commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand of that name."""
        if cmd_name not in commands():
            return None
        command: click.Command = import_module(f"compress.cli.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(commands().items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``run`` in front where the first word that is no option is no subcommand."""
        own = {option for param in self.params for option in param.opts} | {"--help"}
        first = next((i for i, arg in enumerate(args) if arg not in own), None)
        if first is not None and args[first] not in commands():
            args = [*args[:first], "run", *args[first:]]
        return super().parse_args(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="compress")
@click.option("--debug", is_flag=True, help="Show the traceback of a failure.")
def cli(debug: bool) -> None:
    """Compress Hugging Face checkpoints, export them, and score what was gained and lost.

    \b
    compress demo:smollm2 --pipeline int8,fuse
    compress ./my-model -p int8,fuse -p fuse -o out/
    """


def main() -> NoReturn:
    """Run the command line and exit: 0 done, 1 requirement not met, 2 usage, 3 model, 4 failure, 5 missing, 130."""
    interrupt.listen()
    debug = "--debug" in sys.argv
    args = [arg for arg in sys.argv[1:] if arg != "--debug"]
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        code = cli.main(args, prog_name="compress", standalone_mode=False)
    except (KeyboardInterrupt, click.exceptions.Abort):
        code = _fail(_INTERRUPTED, INTERRUPTED, debug)
    except click.ClickException as error:
        code = _fail(_one_line(error.format_message()) + _perhaps_a_command(args), 2, debug)
    except CompressError as error:
        code = _fail(_one_line(str(error)), error.exit_code, debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 4
    except ImportError as error:
        code = _fail(_missing(error), 5, debug)
    except OSError as error:
        room = "; make room, or choose another output" if error.errno == errno.ENOSPC else ""
        code = _fail(_one_line(str(error)) + room, 4, debug)
    except Exception as error:
        code = _fail(f"{type(error).__name__}: {_one_line(str(error))} (unexpected; --debug shows where)", 4, debug)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(text: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    if interrupt.heard():  # another library may have made something else of it
        text, code = _INTERRUPTED, INTERRUPTED
    click.echo(f"compress: {text}", err=True)
    return code


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _perhaps_a_command(args: list[str]) -> str:
    near = difflib.get_close_matches(args[0], commands(), n=1, cutoff=0.7) if args else []
    return f" Did you mean the command {near[0]!r}?" if near and near[0] != args[0] else ""


def _missing(error: ImportError) -> str:
    """Which extra brings a library that isn't installed."""
    extras = {"onnxruntime": "cpu", "onnxruntime_genai": "cpu"}
    name = (error.name or "").partition(".")[0]
    if name in extras:
        return f"{name} is not installed: pip install 'compress-models[{extras[name]}]'"
    return f"{_one_line(str(error))}: the installation is incomplete; pip install compress-models again"
