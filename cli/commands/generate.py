"""``compress generate``: let a variant write."""

from __future__ import annotations

from pathlib import Path

import click

from compress.checkpoint.artifact import FOLDER
from compress.cli.shared.options import seed
from compress.errors import ModelError, RunError


@click.command("generate")
@click.argument("path", type=click.Path(path_type=Path), metavar="VARIANT")
@click.argument("prompt")
@click.option("-n", "--tokens", default=64, show_default=True, type=click.IntRange(min=1), help="How many at most.")
@click.option(
    "--temperature", default=0.0, show_default=True, type=click.FloatRange(min=0), help="0 takes the likeliest token."
)
@click.option("--top-k", default=50, show_default=True, type=click.IntRange(min=1), help="Sample from so many tokens.")
@click.option(
    "--top-p", default=1.0, show_default=True, type=click.FloatRange(0, 1, min_open=True),
    help="Of these, sample from as many as make up this probability.",
)  # fmt: skip
@click.option("--beams", default=1, show_default=True, type=click.IntRange(min=1), help="Search with so many beams.")
@seed
def command(
    path: Path, prompt: str, tokens: int, temperature: float, top_k: int, top_p: float, beams: int, seed: int
) -> None:
    """Continue PROMPT with VARIANT, in onnxruntime-genai."""
    import onnxruntime_genai as genai

    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    if not (folder / "genai_config.json").is_file():
        raise ModelError(f"{path} can't write: it holds no decoder that onnxruntime-genai loads")
    if not prompt:
        raise click.UsageError("the prompt is empty")
    if beams > 1 and temperature:
        raise click.UsageError("--beams takes the likeliest text and --temperature samples: leave one of them out")
    try:
        model = genai.Model(str(folder))
        tokenizer = genai.Tokenizer(model)
        given = tokenizer.encode(prompt)
        params = genai.GeneratorParams(model)
        sampling = (
            {"do_sample": True, "temperature": temperature, "top_k": top_k, "top_p": top_p}
            if temperature
            else {"do_sample": False, "num_beams": beams}
        )
        params.set_search_options(max_length=len(given) + tokens, random_seed=seed, **sampling)
        generator = genai.Generator(model, params)
        generator.append_tokens(given)
        stream = tokenizer.create_stream()
        click.echo(prompt, nl=False)
        while not generator.is_done():
            generator.generate_next_token()
            if beams == 1:
                click.echo(stream.decode(generator.get_next_tokens()[0]), nl=False)
        for token in (
            generator.get_sequence(0)[len(given) :] if beams > 1 else ()
        ):  # which beam is best shows at the end
            click.echo(stream.decode(token), nl=False)
        click.echo()
    except RuntimeError as error:
        raise RunError(f"{folder}: onnxruntime-genai failed: {error}") from error
