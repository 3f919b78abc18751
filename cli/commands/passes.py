"""List every pass with its options."""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING, get_args

import click

from compress.cli.console import Console
from compress.cli.shared.completion import complete_passes

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from compress.pipeline.contract import Pass

_SIGNS = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))


@click.command("passes")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_passes)
def command(names: tuple[str, ...]) -> None:
    """List every pass, or those named: what it does, what it accepts and produces, its options with defaults and units.

    NAME is a pass, or a scheme of one such as W4A16.
    """
    from compress.pipeline.contract import find, passes

    console = Console()
    chosen = {cls.name: cls for cls, _ in map(find, names)} if names else passes()
    for name, cls in chosen.items():
        console.out.print(f"[bold]{name}[/bold]  {summary(cls)}", soft_wrap=True)
        console.out.print(f"    {forms(cls)}", soft_wrap=True)
        for key, option in cls.options().items():
            console.out.print(f"    {key}={option.default}  ({values(option)})", markup=False, soft_wrap=True)
            if option.description:
                console.out.print(f"        {option.description}", markup=False, soft_wrap=True)
        for key, alias in cls.aliases.items():
            if alias.option is not None:
                console.out.print(f"    {key} is {alias.option}", markup=False, soft_wrap=True)
        for scheme, options in cls.presets.items():
            console.out.print(f"    {scheme} = {name}:{options}", markup=False, soft_wrap=True)
        console.out.print()


def summary(cls: type[Pass]) -> str:
    """The first line of a pass's docstring."""
    return (cls.__doc__ or "").strip().splitlines()[0]


def forms(cls: type[Pass]) -> str:
    """The weight forms that a pass accepts and those that it may leave, or what a graph pass works on."""
    from compress.pipeline.contract import GraphPass, WeightPass

    if issubclass(cls, WeightPass):
        accepted = " or ".join(form.__name__ for form in cls.accepts)
        return f"weights: {accepted} → {' or '.join(form.__name__ for form in cls.produces) or 'the same forms'}"
    return "graph: float operators → fused operators" if issubclass(cls, GraphPass) else ""


def values(option: FieldInfo) -> str:
    """The choices of an option, or its type and bounds."""
    from compress.pipeline.contract import choices

    words = list(choices(option))
    others = [cls for cls in get_args(option.annotation) or [option.annotation] if isinstance(cls, type)]
    kinds = ["none" if cls is NoneType else cls.__name__ for cls in others]
    bounds = [f"{sign} {getattr(each, key)}" for each in option.metadata for key, sign in _SIGNS if hasattr(each, key)]
    return ", ".join([" | ".join(words + kinds), *bounds])
