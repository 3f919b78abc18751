"""Generate text with a variant."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compress.checkpoint.files.artifact import FOLDER
from compress.checkpoint.files.manifest import advise_variant
from compress.cli.console import Console
from compress.cli.shared.options import FilePath, seed, threads
from compress.cli.shared.standard_input import is_terminal, read_lines, read_text
from compress.errors import ModelError, RunError
from compress.system.cores import default_threads

if TYPE_CHECKING:
    import onnxruntime_genai as genai
    from transformers import PreTrainedTokenizerBase

    from compress.corpus.messages import Message

_STDIN = "-"


@click.command("generate")
@click.argument("path", type=FilePath(), metavar="VARIANT")
@click.argument("prompt", required=False)
@click.option(
    "-n", "--tokens", default=64, show_default=True, type=click.IntRange(min=1), help="Maximum number of new tokens."
)
@click.option(
    "--temperature",
    default=0.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Sampling temperature; 0 is greedy.",
)
@click.option(
    "--top-k",
    default=50,
    show_default=True,
    type=click.IntRange(min=1),
    help="Sample from this many of the most likely tokens.",
)
@click.option(
    "--top-p",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True),
    help="Nucleus sampling probability.",
)
@click.option(
    "--beams", default=1, show_default=True, type=click.IntRange(min=1), help="Number of beams; 1 is no beam search."
)
@click.option(
    "--chat",
    is_flag=True,
    help="PROMPT is what a user says: the model answers by its chat template. Without PROMPT each line of standard "
    "input is a turn of one conversation.",
)
@seed
@threads
def command(
    path: Path,
    prompt: str | None,
    tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    beams: int,
    chat: bool,
    seed: int,
    threads: int | None,
) -> None:
    """Continue PROMPT with VARIANT, in onnxruntime-genai.

    Without PROMPT, or where it is -, it is read from standard input.
    """
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    if not (folder / "genai_config.json").is_file():
        hint = advise_variant(path) or "`compress export` a decoder first"
        raise ModelError(f"{path} can't generate text: it has no decoder for onnxruntime-genai; {hint}")
    if prompt is None and not chat and is_terminal():
        raise click.UsageError("there is no PROMPT; give one, or text on standard input")

    import onnxruntime_genai  # noqa: F401 - after this: a mistake in it waits for no library

    from compress.export.files.safety import check_artifact
    from compress.system.regular_files import read_json

    check_artifact(folder)
    if prompt == "":
        raise click.UsageError("the prompt is empty")
    if beams > 1 and temperature:
        raise click.UsageError("--beams and --temperature exclude each other; remove one of them")
    facts = read_json(folder / "genai_config.json").get("model", {})
    words = facts.get("vocab_size")
    if isinstance(words, int) and beams > words:
        raise click.UsageError(f"--beams {beams} exceeds the vocabulary of {path}, {words} tokens")
    sampling: dict[str, object] = (
        {"do_sample": True, "temperature": temperature, "top_k": top_k, "top_p": top_p}
        if temperature
        else {"do_sample": False, "num_beams": beams}
    )
    reply = partial(_converse, folder, _chat_tokenizer(folder)) if chat else partial(_continue, _tokenizer(folder))
    try:
        runtime = _Runtime(folder, threads, tokens, sampling | {"random_seed": seed}, facts.get("context_length"))
        reply(runtime, prompt, Console())
    except RuntimeError as error:
        raise RunError(f"{folder}: onnxruntime-genai failed: {error}") from error


class _Runtime:
    """A decoder in onnxruntime-genai, with how it searches for at most ``tokens`` new tokens.

    ``context``: tokens of the longest text, prompt and answer, that it serves.
    """

    def __init__(
        self, folder: Path, threads: int | None, tokens: int, search: Mapping[str, object], context: object
    ) -> None:
        import onnxruntime_genai as genai

        self._genai, self._tokens, self._search = genai, tokens, search
        self._folder, self._context = folder, context if isinstance(context, int) else sys.maxsize
        config = genai.Config(str(folder))
        session = {"session_options": {"intra_op_num_threads": threads or default_threads()}}
        config.overlay(json.dumps({"model": {"decoder": session}}))
        self._model = genai.Model(config)
        self.tokenizer = genai.Tokenizer(self._model)

    def generate(self, ids: list[int]) -> Iterator[str]:
        """Read a prompt's tokens; new text behind it, as soon as each token is there, or at once with beams."""
        if len(ids) >= self._context:
            raise click.UsageError(
                f"the prompt has {len(ids)} tokens, and {self._folder} serves texts of {self._context}; shorten it"
            )
        params = self._genai.GeneratorParams(self._model)
        params.set_search_options(max_length=min(len(ids) + self._tokens, self._context), **self._search)
        generator = self._genai.Generator(self._model, params)
        generator.append_tokens(ids)
        new_tokens = _best_beam(generator, len(ids)) if self._search.get("num_beams", 1) != 1 else _tokens(generator)
        return map(self.tokenizer.create_stream().decode, new_tokens)


def _continue(
    tokenizer: PreTrainedTokenizerBase | None, runtime: _Runtime, prompt: str | None, console: Console
) -> None:
    """Write a prompt and what goes on from it."""
    from compress.corpus.windows import prompt_ids

    text = _text(prompt)
    ids = prompt_ids(tokenizer, text) if tokenizer is not None else []
    new_text = runtime.generate(ids or runtime.tokenizer.encode(text).tolist())
    console.write(text)
    _write(new_text, console)


def _converse(
    folder: Path, tokenizer: PreTrainedTokenizerBase, runtime: _Runtime, prompt: str | None, console: Console
) -> None:
    """Answer what the user says, turn by turn, in the chat template of an artifact; a ModelError where it refuses."""
    from compress.corpus.chat_template import RefusedChatError, render_chat

    messages: list[Message] = []
    for turn in _turns(prompt, console):
        messages.append({"role": "user", "content": turn})
        try:
            text = render_chat(tokenizer, messages, add_generation_prompt=True)
        except RefusedChatError as error:
            raise ModelError(f"{folder}: its chat template refuses the prompt ({error}); leave out --chat") from error
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        messages.append({"role": "assistant", "content": _write(runtime.generate(ids), console)})


def _write(parts: Iterator[str], console: Console) -> str:
    """Write text as it comes, and end its line, also where it is interrupted; the text."""
    written = []
    try:
        for part in parts:
            console.write(part)
            written.append(part)
    finally:
        console.write("\n")
    return "".join(written)


def _turns(prompt: str | None, console: Console) -> Iterator[str]:
    """What a user says: the prompt, or each line of standard input."""
    return read_lines(console) if prompt is None else iter([_text(prompt)])


def _text(prompt: str | None) -> str:
    """The prompt, or what is on standard input; a usage error where that is nothing."""
    text = read_text() if prompt in (None, _STDIN) else prompt
    if not text:
        raise click.UsageError("the prompt is empty")
    return text


def _chat_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of an artifact that has a chat template; a ModelError where there is none."""
    tokenizer = _tokenizer(folder)
    if tokenizer is None:
        raise ModelError(f"{folder} has no tokenizer that transformers can read; leave out --chat")
    if not tokenizer.chat_template:
        raise ModelError(f"{folder} has no chat template; leave out --chat")
    return tokenizer


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase | None:
    """The tokenizer of an artifact as transformers has it; None where it can't read it.

    onnxruntime-genai's own begins a text with the special tokens of known tokenizers only.
    """
    from transformers import AutoTokenizer

    from compress.modeling.quiet import quiet_transformers

    try:
        with quiet_transformers():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
    except Exception:  # transformers has no common class for what a tokenizer's files can be wrong in
        return None
    return tokenizer


def _tokens(generator: genai.Generator) -> Iterator[int]:
    """New tokens, each as soon as it is generated."""
    while not generator.is_done():
        generator.generate_next_token()
        yield generator.get_next_tokens()[0]


def _best_beam(generator: genai.Generator, prompt_length: int) -> list[int]:
    """The new tokens of the best beam, which is known only when the search ends."""
    while not generator.is_done():
        generator.generate_next_token()
    tokens: list[int] = generator.get_sequence(0)[prompt_length:]
    return tokens
