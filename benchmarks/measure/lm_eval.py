"""Adapter from lm-eval to a worker: a task is answered by the contender in its own runtime."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from lm_eval import evaluate
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from transformers import GenerationConfig

from compress.benchmarks.data.tasks import WRITTEN, Tasks, figure, silence_lm_eval
from compress.benchmarks.statistics.estimators import proportion
from compress.benchmarks.statistics.measure import Measure, Measures
from compress.benchmarks.worker.client import Worker
from compress.benchmarks.worker.protocol import AppendToken, LogLikelihoods, ReadPrompt
from compress.checkpoint.model import Model
from compress.errors import RunError
from compress.progress import Progress

T = TypeVar("T")

_RESAMPLED = 1000
"""times that lm-eval's bootstrap draws, for figures that are no mean"""
_FEWSHOT_SEED = 1234
"""lm-eval's own, so that prompts are those of its command line"""
_BEHIND = 2
"""tokens more than a stop string has that may hold it in another tokenization"""


class TaskModel(TemplateLM):  # type: ignore[misc]  # lm-eval may not be installed, and then is of no type
    """lm-eval model that answers through a worker as `HFLM` does: the same tokens, truncated on the left; greedy."""

    def __init__(self, worker: Worker, model: Model, progress: Progress) -> None:
        super().__init__()
        self.tokenizer: Any = model.tokenizer()
        self._worker = worker
        self._progress = progress
        self._terminal = sys.stderr  # while it answers: lm-eval around it is kept quiet
        self._longest = model.longest_served
        spoken = (model.path / "generation_config.json").exists()
        settings = GenerationConfig.from_pretrained(model.path) if spoken else model.config
        ends = settings.eos_token_id
        self._ends = ends if isinstance(ends, list) else [ends]

    @property
    def eot_token_id(self) -> int:
        """The end-of-text token."""
        token: int = self.tokenizer.eos_token_id
        return token

    @property
    def prefix_token_id(self) -> int:
        """The token before a text without context."""
        begins = self.tokenizer.bos_token_id
        return self.eot_token_id if begins is None else begins

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **options: Any) -> list[int]:
        """Tokenize a text, with the tokenizer's special tokens unless it begins with them already."""
        if add_special_tokens is None:
            begin = str(self.tokenizer.decode([self.prefix_token_id]))
            add_special_tokens = not string.startswith(begin)
        tokens: list[int] = self.tokenizer.encode(string, add_special_tokens=add_special_tokens)
        return tokens

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Log-likelihoods of continuations after their contexts in nats, and whether greedy decoding writes them."""
        likelihoods: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return likelihoods

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[float]:
        """Log-likelihoods of texts in nats; long ones in disjoint windows."""
        windows = [
            (i, make_disjoint_window(pair))
            for i, request in enumerate(requests)
            for pair in get_rolling_token_windows(
                self.tok_encode(request.args[0]), self.prefix_token_id, self._longest, context_len=1
            )
        ]
        likelihoods = self._loglikelihood_tokens([(None, *pair) for _, pair in windows])
        sums = [0.0] * len(requests)
        for (i, _), (value, _) in zip(windows, likelihoods, strict=True):
            sums[i] += value
        return sums

    def _loglikelihood_tokens(self, requests: Sequence[Any], **options: Any) -> list[tuple[float, bool]]:
        """Log-likelihoods of token continuations; those of one context are computed together."""
        same: dict[tuple[int, ...], list[int]] = {}
        for i, (_, context, continuation) in enumerate(requests):
            if not 0 < len(continuation) <= self._longest:
                raise RunError(f"a task's answer has {len(continuation)} tokens; from 1 to {self._longest} can be read")
            window = (context + continuation)[-(self._longest + 1) : -1]
            same.setdefault(tuple(window), []).append(i)
        answered = [(0.0, False)] * len(requests)
        with contextlib.redirect_stderr(self._terminal):
            for window, which in self._track(same.items(), len(same)):
                targets = [requests[i][2] for i in which]
                answers = self._worker.send(LogLikelihoods(np.array(window), targets))
                for i, value, greedy in zip(which, answers.values, answers.greedy, strict=True):
                    answered[i] = (value, greedy)
        return answered

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        """Decode greedily until a stop string, the end of the text, or the token limit."""
        with contextlib.redirect_stderr(self._terminal):
            return [self._written(*request.args) for request in self._track(requests, len(requests))]

    def _written(self, context: str, options: dict[str, Any]) -> str:
        limits = normalize_gen_kwargs(options, WRITTEN)
        most = limits["max_gen_toks"]
        stops = handle_stop_sequences(limits["until"], self.tokenizer.decode([self.eot_token_id]))
        behind = _BEHIND + max(len(self.tok_encode(stop, add_special_tokens=False)) for stop in stops)
        prompt = self.tok_encode(context)[-(self._longest - most) :] or [self.prefix_token_id]
        written: list[int] = [self._worker.send(ReadPrompt(np.array(prompt), most)).token]
        while len(written) < most and written[-1] not in self._ends:
            last = self.tokenizer.decode(written[-behind:])
            if any(stop in last for stop in stops):
                break
            written.append(self._worker.send(AppendToken(written[-1])).token)
        text: str = postprocess_generated_text(self.tokenizer.decode(written, skip_special_tokens=True), stops, None)
        return text

    def _track(self, items: Iterable[T], total: int) -> Iterator[T]:
        return self._progress.track(items, f"tasks of {self._worker.contender.name}", total, "requests")


def measure_tasks(workers: Sequence[Worker], tasks: Tasks, progress: Progress) -> list[Measures]:
    """Measure every contender's figures of the tasks, by key; the spread is lm-eval's standard error."""
    return [_figures(_evaluate(TaskModel(worker, tasks.model, progress), tasks), tasks) for worker in workers]


def _evaluate(model: TaskModel, tasks: Tasks) -> dict[str, Any]:
    for task in tasks.loaded["tasks"].values():
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=_FEWSHOT_SEED)
    with silence_lm_eval():
        results: dict[str, Any] = evaluate(
            lm=model, task_dict=tasks.loaded, bootstrap_iters=_RESAMPLED, log_samples=True
        )
    return results


def _figures(results: dict[str, Any], tasks: Tasks) -> Measures:
    measures = {}
    for name in tasks.shown:
        figures = results["results"].get(name) or results["groups"][name]
        for key, value in figures.items():
            metric, comma, filtered = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            spread = figures.get(f"{metric}_stderr,{filtered}")
            measure = Measure(value=value, spread=spread if isinstance(spread, float) else None)
            values = [sample[metric] for sample in results["samples"].get(name, ()) if sample["filter"] == filtered]
            measures[figure(name, metric, filtered)] = _with_documents(measure, values)
    return measures


def _with_documents(measure: Measure, values: Sequence[Any]) -> Measure:
    """Add every document's contribution to a mean, and bounds to a proportion."""
    if not values or not all(isinstance(document, int | float) for document in values):
        return measure
    if abs(sum(values) / len(values) - measure.value) > 1e-9:
        return measure
    bounds = proportion(list(map(bool, values))).bounds if all(document in (0, 1) for document in values) else None
    return measure.model_copy(update={"windows": tuple(map(float, values)), "bounds": bounds})
