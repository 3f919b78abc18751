"""The model card of a variant, its ``README.md``."""

from __future__ import annotations

from pathlib import Path

from compress.manifest import Manifest

_LOAD = {
    "decoder": """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(".")
tokenizer = AutoTokenizer.from_pretrained(".")
```

```python
import onnxruntime_genai as genai

model = genai.Model("onnx")
```
""",
    "encoder": """\
```python
from transformers import AutoModel, AutoTokenizer

model = AutoModel.from_pretrained(".")
tokenizer = AutoTokenizer.from_pretrained(".")
```

```python
import onnxruntime

session = onnxruntime.InferenceSession("onnx/model.onnx")
```
""",
}


def write_card(directory: Path, manifest: Manifest) -> None:
    """Write the card: what it was made from, how, how its weights are stored, and how to load it."""
    source = manifest.source
    stored = sum(form.nbytes for form in manifest.weights.values())
    base = source.name.removeprefix("demo:")
    if Path(base).expanduser().is_dir():
        base = Path(base).expanduser().resolve().name  # a path means nothing to whoever reads the card
    quantized = any(form.form == "quantized" for form in manifest.weights.values())
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
        f"- matrices: {stored / 1e6:.1f} MB, against {source.nbytes / 1e6:.1f} MB of the original's weights",
        "- every option, version and weight form: `compress.json`",
        "",
        "The base model's licence holds for this variant too.",
        "",
        "## Loading",
        "",
        _LOAD[source.kind],
    ]
    (directory / "README.md").write_text("\n".join(lines))
