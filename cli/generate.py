"""``compress generate``: let a variant write."""

from __future__ import annotations

from pathlib import Path

import click

from compress.artifact import FOLDER
from compress.cli.options import seed
from compress.errors import ModelError, RunError


@click.command("generate")
@click.argument("path", type=click.Path(path_type=Path), metavar="VARIANT")
@click.argument("prompt")
@click.option("-n", "--tokens", default=64, show_default=True, type=click.IntRange(min=1), help="How many at most.")
@click.option(
    "--temperature", default=0.0, show_default=True, type=click.FloatRange(min=0), help="0 takes the likeliest token."
)
@click.option("--top-k", default=50, show_default=True, type=click.IntRange(min=1), help="Sample from so many tokens.")
@seed
def command(path: Path, prompt: str, tokens: int, temperature: float, top_k: int, seed: int) -> None:
    """Continue PROMPT with VARIANT, in onnxruntime-genai."""
    import onnxruntime_genai as genai

    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    if not (folder / "genai_config.json").is_file():
        raise ModelError(f"{path} can't write: it holds no decoder that onnxruntime-genai loads")
    if not prompt:
        raise click.UsageError("the prompt is empty")
    try:
        model = genai.Model(str(folder))
        tokenizer = genai.Tokenizer(model)
        given = tokenizer.encode(prompt)
        params = genai.GeneratorParams(model)
        sampling = (
            {"do_sample": True, "temperature": temperature, "top_k": top_k} if temperature else {"do_sample": False}
        )
        params.set_search_options(max_length=len(given) + tokens, random_seed=seed, **sampling)
        generator = genai.Generator(model, params)
        generator.append_tokens(given)
        stream = tokenizer.create_stream()
        click.echo(prompt, nl=False)
        while not generator.is_done():
            generator.generate_next_token()
            click.echo(stream.decode(generator.get_next_tokens()[0]), nl=False)
        click.echo()
    except RuntimeError as error:
        raise RunError(f"{folder}: onnxruntime-genai failed: {error}") from error
