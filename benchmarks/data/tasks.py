"""Load lm-eval tasks by name or from a file, and refuse unusable ones before any work."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import io
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.benchmarks.data.task_file import check_task_file, sandbox_templates
from compress.benchmarks.results.scorecard import Direction
from compress.errors import MissingComponentError, UsageError
from compress.modeling.quiet import first_line

if TYPE_CHECKING:
    from compress.checkpoint.model import Model

WRITTEN = 256
"""tokens that a task may write at most where it doesn't say, as in lm-eval"""
_SUFFIXES = (".yaml", ".yml")
_LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
"""Names of the most tokens that a task may write; the first that is there counts."""


@dataclass(frozen=True)
class Tasks:
    """Loaded lm-eval tasks for one model.

    ``loaded`` is what `lm_eval.evaluate` takes, ``shown`` the tasks and groups whose figures are kept, ``better`` which
    way is better for every figure that they give, by its key (`figure`).
    """

    model: Model
    loaded: dict[str, Any]
    shown: tuple[str, ...]
    better: dict[str, Direction]

    def __str__(self) -> str:
        counts = [sum(len(task.eval_docs) for task in _leaves(self.loaded, name)) for name in self.shown]
        return ", ".join(f"{name} ({count} documents)" for name, count in zip(self.shown, counts, strict=True))

    def digest(self) -> bytes:
        """SHA-256 of every task's documents and prompts, equal for two runs on the same ones."""
        digest = hashlib.sha256()
        for name, task in self.loaded["tasks"].items():
            config = [str(getattr(task.config, f"doc_to_{part}", None)) for part in ("text", "choice", "target")]
            digest.update(json.dumps([name, config, list(task.eval_docs)], default=str).encode())
        return digest.digest()


def figure(task: str, metric: str, filtered: str = "none") -> str:
    """The key of a task's figure, such as ``arc_easy.acc``; a filter of the answers comes last."""
    return f"{task}.{metric}" + (f".{filtered}" if filtered != "none" else "")


def split_specs(text: str) -> tuple[str, ...]:
    """Split ``arc_easy,my/task.yaml`` into task names and files.

    Raises UsageError for a list that is none, and MissingComponentError where lm-eval isn't installed.
    """
    specs = tuple(name.strip() for name in text.split(","))
    if "" in specs:
        raise UsageError(f"{text!r} has an empty task; write them like arc_easy,my/task.yaml")
    if twice := next((name for name in specs if specs.count(name) > 1), None):
        raise UsageError(f"task {twice} is given twice")
    if find_spec("lm_eval") is None:
        raise MissingComponentError("--tasks needs lm-eval: pip install 'compress-models[eval]'")
    return specs


def read_tasks(specs: Sequence[str], model: Model, trust_remote_code: bool = False) -> Tasks:
    """Load tasks by name, or from files, whose ``data_files`` are relative to them.

    ``trust_remote_code`` admits files that run code. Raises UsageError for a model that is no decoder, an unknown name,
    a task that can't be used with the model, and a file that would run code.
    """
    if not model.kind.is_decoder_only:
        raise UsageError(f"--tasks is for decoders, and {model.source} is of the kind {model.kind}; leave it out")
    with silence_lm_eval():
        from lm_eval.tasks import TaskManager  # here: it takes seconds, and may not be installed

        sandbox_templates()
        files = [entry for entry in specs if entry.endswith(_SUFFIXES)]
        manager = TaskManager(include_defaults=len(files) < len(specs))  # the index of all takes seconds more
    loaded: dict[str, Any] = {"tasks": {}, "groups": {}, "group_map": {}}
    shown: list[str] = []
    for spec in specs:
        contents = _load(manager, spec, spec in files, trust_remote_code)
        if twice := next((name for name in contents["tasks"] if name in loaded["tasks"]), None):
            raise UsageError(f"task {twice} comes twice; name it once")
        for part, entry in contents.items():
            loaded[part].update(entry)
        inner = {name for names in contents["group_map"].values() for name in names}
        groups = [name for name, group in contents["groups"].items() if group.has_aggregation and name not in inner]
        shown += groups or contents["tasks"]
    for name, task in loaded["tasks"].items():
        _check(name, task, model)
    return Tasks(model, loaded, tuple(shown), dict(_directions(loaded, shown)))


@contextlib.contextmanager
def silence_lm_eval() -> Iterator[None]:
    """Suppress the output of lm-eval and datasets."""
    logging.getLogger("lm_eval").setLevel(logging.CRITICAL)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _load(manager: Any, spec: str, is_file: bool, trust_remote_code: bool) -> dict[str, Any]:
    path = Path(spec).expanduser().resolve()
    if is_file and not path.is_file():
        raise UsageError(f"can't read the task file {spec}: there is none")
    if is_file and not trust_remote_code:
        check_task_file(path)
    if not is_file and spec not in manager.all_tasks:
        nearest = difflib.get_close_matches(spec, manager.all_tasks, n=3)
        hint = f"nearest: {', '.join(nearest)}" if nearest else "`lm-eval ls tasks` lists them"
        raise UsageError(f"lm-eval has no task {spec!r}; {hint}, and a file of your own ends in .yaml")
    try:
        with silence_lm_eval(), contextlib.chdir(path.parent if is_file else Path()):
            tasks: dict[str, Any] = manager.load([str(path) if is_file else spec])
            empty = [name for name, task in tasks["tasks"].items() if not len(task.eval_docs)]
    except Exception as error:  # lm-eval and datasets raise whatever they come upon
        raise UsageError(
            f"task {spec} can't be loaded ({type(error).__name__}: {first_line(error)}); its documents have to be "
            "within reach, and one at least"
        ) from error
    if empty:
        raise UsageError(f"task {empty[0]} has no documents")
    return tasks


def _check(name: str, task: Any, model: Model) -> None:
    """Refuse tasks that need more than a greedy text decoder."""
    if getattr(task, "MULTIMODAL", False):
        raise UsageError(f"task {name} shows more than text; leave it out")
    if getattr(task, "UNSAFE_CODE", False):
        raise UsageError(f"task {name} would run code that the model writes; leave it out")
    if task.OUTPUT_TYPE != "generate_until":
        return
    options = getattr(task.config, "generation_kwargs", None) or {}
    if options.get("do_sample") or options.get("num_beams", 1) > 1:
        raise UsageError(f"task {name} samples or searches with beams, and text is written greedily here; leave it out")
    most = next((int(options[option]) for option in _LIMITS if options.get(option) is not None), WRITTEN)
    if not 0 < most < (longest := model.longest_served):
        raise UsageError(
            f"task {name} may write {most} tokens, and {model.source} takes in {longest}; "
            "set max_gen_toks in its generation_kwargs"
        )


def _leaves(loaded: dict[str, Any], name: str) -> list[Any]:
    """The task of that name, or those of the group."""
    leaves: list[Any] = loaded["groups"][name].get_all_tasks() if name in loaded["groups"] else [loaded["tasks"][name]]
    return leaves


def _directions(loaded: dict[str, Any], shown: Sequence[str]) -> Iterator[tuple[str, Direction]]:
    for name in shown:
        group = loaded["groups"].get(name)
        aggregated = None if group is None else {entry.metric for entry in group.aggregate_metric_list}
        for task in _leaves(loaded, name):
            for metric, higher in task.higher_is_better().items():
                for entry in task._filters if aggregated is None or metric in aggregated else ():
                    yield figure(name, metric, entry.name), "lower" if higher is False else "higher"
