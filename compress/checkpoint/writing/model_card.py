"""Model card of a variant: write its ``README.md``, and put scores into it. The text is in ``templates/``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from compress.checkpoint.files.hashes import CARD
from compress.checkpoint.files.manifest import Manifest
from compress.checkpoint.files.summary import layers_of, notices, total
from compress.checkpoint.writing.license import License
from compress.escape import markdown_code, markdown_text, printable
from compress.formats.base import find_format
from compress.modeling.classifier import auto_class
from compress.weights.stored import DEFAULT_FORMAT

if TYPE_CHECKING:
    from compress.checkpoint.sentence.modules import SentenceModules

_LIBRARY_OF = {
    False: {"library_name": "transformers"},
    True: {"library_name": "sentence-transformers", "pipeline_tag": "sentence-similarity"},
}
"""What the hub is told of a variant, and of a sentence encoder."""
_LIBRARIES = ("torch", "transformers", "compressed-tensors", "onnxruntime", "onnxruntime-genai")
_LOADING = "## Loading"
"""The heading, as in the template, that scores come before."""
_BEGIN, _END = "<!-- scores -->", "<!-- /scores -->"


def write_card(directory: Path, manifest: Manifest, license: License, sentence: SentenceModules | None = None) -> None:
    """Write the card: what it was made from, how, how its weights are stored, its license, and how to load it.

    ``sentence``: a sentence encoder's modules, which lie in the directory, too.
    """
    source, embeds = manifest.source, sentence is not None
    environment = Environment(
        loader=PackageLoader("compress.checkpoint.writing"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"text": markdown_text, "code": markdown_code}
    card = environment.get_template("card.md.jinja").render(
        manifest=manifest,
        source=source,
        kind=source.kind,
        embeds=embeds,
        lowercases=sentence is not None and sentence.lowercase,
        unpacks_when_called=_unpacks_when_called(directory) if embeds else False,
        license=license,
        nbytes=sum(file.stat().st_size for file in directory.glob("*.safetensors")) or manifest.nbytes,
        front_matter=_front_matter(manifest, license, embeds),
        has_products=any(form.parts for form in manifest.weights.values()),
        shares_integers=_shares_integers(manifest),
        auto_class=auto_class(source.kind, source.architecture),
        required_packages=_required_packages(manifest),
        losses=_losses(manifest),
        libraries=[f"{name} {manifest.versions[name]}" for name in _LIBRARIES if name in manifest.versions],
    )
    (directory / CARD).write_text(card, encoding="utf-8")


def _front_matter(manifest: Manifest, license: License, embeds: bool) -> str:
    """The card's facts for the hub, as YAML."""
    is_quantized = any(leaf.form == "quantized" for form in manifest.weights.values() for leaf in form.leaves)
    facts = {
        "base_model": manifest.source.title,
        **({"base_model_relation": "quantized"} if is_quantized else {}),
        **_LIBRARY_OF[embeds],
        **license.fields,
    }
    return "\n".join(_yaml_line(key, value) for key, value in facts.items())


def _yaml_line(key: str, value: str) -> str:
    """A line of YAML; what isn't printable is escaped in double quotes."""
    style = {"allow_unicode": True} if value == printable(value) else {"default_style": '"'}
    line: str = yaml.safe_dump({key: value}, width=math.inf, **style)
    return line.rstrip()


def card_with_scores(directory: Path, scores: str) -> dict[Path, str]:
    """The card's file and its text with a table of scores in Markdown; nothing where there is no card.

    Earlier scores give way, everything else stays as it is.
    """
    file = directory / CARD
    if not file.is_file():
        return {}
    text = file.read_text(encoding="utf-8")
    section = f"{_BEGIN}\n## Measured\n\n{scores.strip()}\n{_END}\n"
    before, begin, rest = text.partition(f"\n{_BEGIN}\n")
    _, end, after = rest.partition(f"{_END}\n")
    if begin and end:
        text = f"{before}\n{section}{after}"
    else:
        before, heading, after = text.partition(_LOADING)
        text = before + section + "\n" + heading + after if heading else f"{text.rstrip()}\n\n{section}"
    return {file: text}


def _unpacks_when_called(directory: Path) -> bool:
    """Whether transformers unpacks a variant's integers as the model is first called, not as it is loaded."""
    config = json.loads((directory / "config.json").read_text())
    quantization = config.get("quantization_config")
    return quantization is not None and not quantization.get("dequantize")


def _shares_integers(manifest: Manifest) -> bool:
    """Whether an encoder-decoder's embedding is in integers."""
    tables = [form for name, form in manifest.weights.items() if name.endswith("shared.weight")]
    return manifest.source.kind.is_seq2seq and any(form.form == "quantized" for form in tables)


def _required_packages(manifest: Manifest) -> tuple[str, ...]:
    """The packages that transformers needs to load the checkpoint, beyond those for the default format."""
    return () if manifest.format == DEFAULT_FORMAT else find_format(manifest.format).required_packages


def _losses(manifest: Manifest) -> list[str]:
    """The output errors of the matrices, as far as they were measured, and the manifest's notices."""
    model = total(layers_of(manifest))
    errors = [m.report.error for m in model.matrices if m.report is not None and m.report.error is not None]
    lines = []
    if model.worst is not None:
        lines.append(
            f"relative squared error of a matrix's outputs, on the calibration text: {100 * median(errors):.3g} % in "
            f"the median, at worst {100 * max(errors):.3g} % ({markdown_code(model.worst.name)})"
        )
    return [*lines, *map(markdown_text, notices(manifest))]
