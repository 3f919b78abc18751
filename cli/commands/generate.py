"""Generate text with a variant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compress.checkpoint.files.artifact import FOLDER
from compress.cli.console import Console
from compress.cli.shared.options import FilePath, seed, threads
from compress.errors import ModelError, RunError
from compress.system.cores import default_threads

if TYPE_CHECKING:
    import onnxruntime_genai as genai


@click.command("generate")
@click.argument("path", type=FilePath(), metavar="VARIANT")
@click.argument("prompt")
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
@click.option("--chat", is_flag=True, help="PROMPT is what a user says: the model answers by its chat template.")
@seed
@threads
def command(
    path: Path,
    prompt: str,
    tokens: int,
    temperature: float,
    top_k: int,
    top_p: float,
    beams: int,
    chat: bool,
    seed: int,
    threads: int | None,
) -> None:
    """Continue PROMPT with VARIANT, in onnxruntime-genai."""
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    if not (folder / "genai_config.json").is_file():
        raise ModelError(
            f"{path} can't generate text: it has no decoder for onnxruntime-genai; `compress export` a decoder first"
        )

    import onnxruntime_genai as genai  # after this: a mistake in it waits for no library

    from compress.export.files.safety import check_artifact
    from compress.system.regular_files import read_json

    check_artifact(folder)
    if not prompt:
        raise click.UsageError("the prompt is empty")
    if beams > 1 and temperature:
        raise click.UsageError("--beams and --temperature exclude each other; remove one of them")
    words = read_json(folder / "genai_config.json").get("model", {}).get("vocab_size")
    if isinstance(words, int) and beams > words:
        raise click.UsageError(f"--beams {beams} exceeds the vocabulary of {path}, {words} tokens")
    try:
        config = genai.Config(str(folder))
        session = {"session_options": {"intra_op_num_threads": threads or default_threads()}}
        config.overlay(json.dumps({"model": {"decoder": session}}))
        model = genai.Model(config)
        tokenizer = genai.Tokenizer(model)
        ids = _prompt_ids(folder, prompt, chat) or tokenizer.encode(prompt).tolist()
        params = genai.GeneratorParams(model)
        sampling = (
            {"do_sample": True, "temperature": temperature, "top_k": top_k, "top_p": top_p}
            if temperature
            else {"do_sample": False, "num_beams": beams}
        )
        params.set_search_options(max_length=len(ids) + tokens, random_seed=seed, **sampling)
        generator = genai.Generator(model, params)
        generator.append_tokens(ids)
        stream = tokenizer.create_stream()
        console = Console()
        console.write("" if chat else prompt)
        new_tokens = _best_beam(generator, len(ids)) if beams > 1 else _tokens(generator)
        for token in new_tokens:
            console.write(stream.decode(token))
        console.write("\n")
    except RuntimeError as error:
        raise RunError(f"{folder}: onnxruntime-genai failed: {error}") from error


def _prompt_ids(folder: Path, prompt: str, chat: bool) -> list[int]:
    """The prompt's tokens as transformers has them; none where it can't read the tokenizer.

    onnxruntime-genai's own tokenizer begins a text with the special tokens of known tokenizers only. A ``chat`` is what
    a user says, in the chat template; a ModelError where there is none.
    """
    from transformers import AutoTokenizer

    from compress.corpus.chat_template import RefusedChatError, render_chat
    from compress.corpus.windows import prompt_ids
    from compress.modeling.quiet import quiet_transformers

    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers has no common class for what a tokenizer's files can be wrong in
        if chat:
            raise ModelError(f"{folder} has no tokenizer that transformers can read; leave out --chat") from error
        return []
    if not chat:
        return prompt_ids(tokenizer, prompt)
    if not tokenizer.chat_template:
        raise ModelError(f"{folder} has no chat template; leave out --chat")
    try:
        text = render_chat(tokenizer, [{"role": "user", "content": prompt}], add_generation_prompt=True)
    except RefusedChatError as error:
        raise ModelError(f"{folder}: its chat template refuses the prompt ({error}); leave out --chat") from error
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


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
