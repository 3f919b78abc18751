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

_MOST_BYTES, _MOST_VALUES, _DEEPEST, _MOST_FILES = 1 << 20, 10_000, 100, 100
"""of a file, but for the last; the longest of lm-eval's own has a hundredth"""


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
        root = _composed(file)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(f"can't read the task file {file} ({first_line(error)})") from error
    if len(seen_files) > _MOST_FILES:
        raise UsageError(
            f"can't read the task file {file} (it comes after {_MOST_FILES} others that include each other)"
        )
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


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads what a task has at most: PyYAML's time grows with the square of the depth."""

    _depth = _values = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self._depth, self._values = self._depth + 1, self._values + 1
        if self._depth > _DEEPEST or self._values > _MOST_VALUES:
            raise yaml.YAMLError(f"more than {_DEEPEST} levels or {_MOST_VALUES} values")
        node: Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _composed(file: Path) -> Node | None:
    """The root of a file; a ValueError for one that is too large."""
    with file.open("rb") as content:
        text = content.read(_MOST_BYTES + 1)
    if len(text) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES} bytes")
    root: Node | None = yaml.compose(text.decode(), Loader=_Loader)
    return root


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
