"""The model card of a variant, its ``README.md``."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from compress.format import find_format
from compress.inspection import layers_of, notices, total
from compress.manifest import DEFAULT_FORMAT, Manifest

_TRANSFORMERS = {
    "decoder": """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(".")
tokenizer = AutoTokenizer.from_pretrained(".")
```
""",
    "encoder": """\
```python
from transformers import AutoModel, AutoTokenizer

model = AutoModel.from_pretrained(".")
tokenizer = AutoTokenizer.from_pretrained(".")
```
""",
}
_PRODUCTS = """\
transformers can't load what is stored as a product here (`….left.weight` times `….right.weight`); a variant made with
`--target hf --merge` holds it multiplied out.
"""
_ONNX = {
    "decoder": """\
```python
import onnxruntime_genai as genai

model = genai.Model("onnx")
```
""",
    "encoder": """\
```python
import onnxruntime

session = onnxruntime.InferenceSession("onnx/model.onnx")
```
""",
}


def write_card(directory: Path, manifest: Manifest) -> None:
    """Write the card: what it was made from, how, how its weights are stored, and how to load it."""
    source = manifest.source
    base = source.title
    quantized = any(leaf.form == "quantized" for form in manifest.weights.values() for leaf in form.leaves)
    products = any(form.parts for form in manifest.weights.values())
    lines = [
        "---",
        f"base_model: {base}",
        *(["base_model_relation: quantized"] if quantized else []),
        "library_name: transformers",
        "---",
        "",
        f"# {base}, {manifest.pipeline}",
        "",
        f"Made from `{base}` ({source.architecture}, {source.parameters / 1e6:.1f} million parameters, weights' "
        f"sha256 `{source.sha256[:16]}…`) by compress-models "
        f"{manifest.versions['compress']}.",
        "",
        f"- recipe: `{','.join(manifest.recipe)}`, seed {manifest.seed}",
        f"- calibration: {manifest.calibration}",
        *([f"- parameters: {manifest.resized}"] if manifest.resized else []),
        f"- weights: {manifest.nbytes / 1e6:.1f} MB, against the original's {source.nbytes / 1e6:.1f} MB",
        *_losses(manifest),
        "- every option, version and weight form: `compress.json`",
        "",
        "The base model's licence holds for this variant too.",
        "",
        "## Loading",
        "",
        _PRODUCTS if products else _TRANSFORMERS[source.kind],
        *_format(manifest),
        _ONNX[source.kind],
    ]
    (directory / "README.md").write_text("\n".join(lines))


def _format(manifest: Manifest) -> list[str]:
    """Which format the checkpoint is in, where it is not the usual one, and what transformers needs for it."""
    if manifest.format == DEFAULT_FORMAT:
        return []
    needed = " and ".join(find_format(manifest.format).reader)
    return [f"The checkpoint is in format {manifest.format}, for which transformers needs {needed}.", ""]


def _losses(manifest: Manifest) -> list[str]:
    """What was lost on the way, as far as it was measured."""
    whole = total(layers_of(manifest))
    errors = [m.report.error for m in whole.matrices if m.report is not None and m.report.error is not None]
    lines = []
    if whole.worst is not None:
        lines.append(
            f"- relative squared error of a matrix's outputs, on the calibration text: {100 * median(errors):.3g} % in "
            f"the median, at worst {100 * max(errors):.3g} % (`{whole.worst.name}`)"
        )
    return [*lines, *(f"- {notice}" for notice in notices(manifest))]
