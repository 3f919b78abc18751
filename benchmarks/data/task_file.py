"""Refuse lm-eval task files that would run code, before lm-eval reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml
from yaml import MappingNode, Node, ScalarNode, SequenceNode

from compress.errors import UsageError
from compress.modeling.quiet import first_line

_PLAIN = {*yaml.SafeLoader.yaml_constructors, "tag:yaml.org,2002:merge"} - {None}
"""YAML's own types"""


def check_task_file(file: Path) -> None:
    """Raise UsageError for a task file, or one that it includes, that can't be read or would run code.

    Such are functions (``!function utils.score``: Python beside the file) and metrics that lm-eval doesn't have, whose
    code it fetches from the hub.
    """
    for path, node in _nodes(file, set()):
        if node.tag not in _PLAIN:
            raise _unsafe(path, node, f"{node.tag} {node.value}" if isinstance(node, ScalarNode) else node.tag)
        for key, value in _entries(node):
            if key == "hf_evaluate" and value.value.lower() in ("true", "yes", "on"):
                raise _unsafe(path, value, "hf_evaluate")
            if key == "metric" and not _is_metric(value.value):
                raise _unsafe(path, value, f"the metric {value.value}, which lm-eval doesn't have")


def sandbox_templates() -> None:
    """Have lm-eval fill in templates in jinja's sandbox: in its own, a template reaches all of Python."""
    from jinja2 import BaseLoader
    from jinja2.sandbox import SandboxedEnvironment
    from lm_eval import utils

    if not isinstance(utils.env, SandboxedEnvironment):
        environment = SandboxedEnvironment(
            loader=BaseLoader(), undefined=utils.env.undefined, keep_trailing_newline=utils.env.keep_trailing_newline
        )
        environment.filters.update(utils.env.filters)
        utils.env = environment


def _nodes(file: Path, seen_files: set[Path]) -> Iterator[tuple[Path, Node]]:
    """Every node of a file and of those that it includes, each with its file."""
    if file in seen_files:
        return
    seen_files.add(file)
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(f"can't read the task file {file} ({first_line(error)})") from error
    nodes, visited = [root] if root is not None else [], set()
    while nodes:
        node = nodes.pop()
        if id(node) in visited:  # an alias of one before
            continue
        visited.add(id(node))
        yield file, node
        if isinstance(node, MappingNode):
            nodes += [part for entry in node.value for part in entry]
        elif isinstance(node, SequenceNode):
            nodes += node.value
        for key, value in _entries(node):
            if key == "include":
                yield from _nodes((file.parent / value.value).resolve(), seen_files)


def _entries(node: Node) -> Iterator[tuple[str, ScalarNode]]:
    """The keys of a mapping with the words that they have, those of a list one by one."""
    for key, value in node.value if isinstance(node, MappingNode) else ():
        for part in value.value if isinstance(value, SequenceNode) else (value,):
            if isinstance(key, ScalarNode) and isinstance(part, ScalarNode):
                yield key.value, part


def _is_metric(name: str) -> bool:
    import lm_eval.api.metrics  # noqa: F401 - it registers them
    from lm_eval.api.registry import metric_registry

    return name in metric_registry


def _unsafe(file: Path, node: Node, reason: str) -> UsageError:
    return UsageError(
        f"{file}, line {node.start_mark.line + 1}, would run code ({reason}); read it, then pass --trust-remote-code"
    )
