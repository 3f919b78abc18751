"""The model card of a variant, its ``README.md``."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from compress.checkpoint.license import License
from compress.checkpoint.manifest import Manifest
from compress.checkpoint.summary import layers_of, notices, total
from compress.formats.base import find_format
from compress.modeling.classifier import auto_class
from compress.weights.stored import DEFAULT_FORMAT

_LOADER = "AutoModelFor…"
_TRANSFORMERS = {
    "decoder": """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(".")
tokenizer = AutoTokenizer.from_pretrained(".")
inputs = tokenizer("The capital of France is", return_tensors="pt", return_token_type_ids=False)
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=20)[0]))
```
""",
    "encoder": """\
```python
from transformers import AutoModel, AutoTokenizer

model = AutoModel.from_pretrained(".")
tokenizer = AutoTokenizer.from_pretrained(".")
print(model(**tokenizer("The capital of France", return_tensors="pt")).last_hidden_state)
```
""",
    "classifier": """\
```python
from transformers import AutoModelFor…, AutoTokenizer

model = AutoModelFor….from_pretrained(".")
tokenizer = AutoTokenizer.from_pretrained(".")
classes = model(**tokenizer("The capital of France", return_tensors="pt")).logits[0].argmax(-1)
print([model.config.id2label[each] for each in classes.reshape(-1).tolist()])
```
""",
    "encoder-decoder": """\
```python
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

model = AutoModelForSeq2SeqLM.from_pretrained(".")
tokenizer = AutoTokenizer.from_pretrained(".")
inputs = tokenizer("The capital of France is", return_tensors="pt", return_token_type_ids=False)
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=20)[0]))
```
""",
    "image-classifier": """\
```python
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

model = AutoModelForImageClassification.from_pretrained(".")
processor = AutoImageProcessor.from_pretrained(".")
image = Image.new("RGB", (640, 480), "orange")
inputs = processor(images=image, return_tensors="pt")
print(model.config.id2label[int(model(**inputs).logits[0].argmax())])
```
""",
}
_PRODUCTS = """\
transformers can't load what is stored as a product here (`….left.weight` times `….right.weight`); a variant made with
`--target hf --merge` holds it multiplied out.
"""
_SHARED = """\
transformers can't load an embedding in integers that an encoder and a decoder share, as this one; a variant made with
`--target hf` keeps it float.
"""
_ONNX = {
    "decoder": """\
```python
import onnxruntime_genai as genai

model = genai.Model("onnx")
tokenizer = genai.Tokenizer(model)
prompt = tokenizer.encode("The capital of France is")
parameters = genai.GeneratorParams(model)
parameters.set_search_options(max_length=len(prompt) + 20)
generator = genai.Generator(model, parameters)
generator.append_tokens(prompt)
while not generator.is_done():
    generator.generate_next_token()
print(tokenizer.decode(generator.get_sequence(0)))
```
""",
    "encoder": """\
```python
import onnxruntime
from transformers import AutoTokenizer

session = onnxruntime.InferenceSession("onnx/model.onnx")
tokenizer = AutoTokenizer.from_pretrained(".")
inputs = tokenizer("The capital of France", return_tensors="np", return_token_type_ids=True)
wanted = {each.name for each in session.get_inputs()}
print(session.run(None, {name: inputs[name] for name in inputs if name in wanted})[0])
```
""",
    "encoder-decoder": """\
```python
import json

import numpy as np
import onnxruntime
from transformers import AutoTokenizer

config = json.load(open("onnx/config.json"))
tokenizer = AutoTokenizer.from_pretrained(".")
encoder = onnxruntime.InferenceSession("onnx/encoder_model.onnx")
decoder = onnxruntime.InferenceSession("onnx/decoder_model_merged.onnx")
text = dict(tokenizer("The capital of France is", return_tensors="np", return_token_type_ids=False))
states = encoder.run(None, text)[0]
names = [each.name for each in decoder.get_outputs()]
past = {
    each.name: np.zeros((1, each.shape[1], 0, each.shape[3]), np.float32)
    for each in decoder.get_inputs()
    if each.name.startswith("past_key_values")
}
tokens = [config["decoder_start_token_id"]]
while len(tokens) < 20 and tokens[-1] != config["eos_token_id"]:
    said = decoder.run(
        None,
        {
            "input_ids": np.array([tokens[-1:]]),
            "encoder_hidden_states": states,
            "encoder_attention_mask": text["attention_mask"],
            **past,
        },
    )
    tokens.append(int(said[0][0, -1].argmax()))
    past = {name.replace("present", "past_key_values"): value for name, value in zip(names[1:], said[1:])}
print(tokenizer.decode(tokens))
```
""",
}
_ONNX["classifier"] = _ONNX["encoder"]
_ONNX["image-classifier"] = """\
```python
import onnxruntime
from PIL import Image
from transformers import AutoImageProcessor

session = onnxruntime.InferenceSession("onnx/model.onnx")
processor = AutoImageProcessor.from_pretrained(".")
image = Image.new("RGB", (640, 480), "orange")
inputs = processor(images=image, return_tensors="np")
print(session.run(None, {"pixel_values": inputs["pixel_values"]})[0].argmax(-1))
```
"""
_LIBRARIES = ("torch", "transformers", "compressed-tensors", "onnxruntime", "onnxruntime-genai")
_LOADING = "## Loading"
_FILE = "README.md"
_BEGIN, _END = "<!-- scores -->", "<!-- /scores -->"


def write_card(directory: Path, manifest: Manifest, license: License) -> None:
    """Write the card: what it was made from, how, how its weights are stored, its license, and how to load it."""
    source = manifest.source
    base = source.title
    quantized = any(leaf.form == "quantized" for form in manifest.weights.values() for leaf in form.leaves)
    libraries = [f"{name} {manifest.versions[name]}" for name in _LIBRARIES if name in manifest.versions]
    products = any(form.parts for form in manifest.weights.values())
    in_transformers = _TRANSFORMERS[source.kind.name]
    lines = [
        "---",
        f"base_model: {base}",
        *(["base_model_relation: quantized"] if quantized else []),
        "library_name: transformers",
        *license.lines,
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
        *([f"- made with {', '.join(libraries)}"] if libraries else []),
        "- every option, version and weight form: `compress.json`",
        "",
        str(license),
        "",
        _LOADING,
        "",
        "From this directory, in transformers:",
        "",
        _PRODUCTS
        if products
        else _SHARED
        if _shares_integers(manifest)
        else in_transformers.replace(_LOADER, auto_class(source.kind, source.architecture)),
        *_format(manifest),
        "In ONNX Runtime (`compress export . --target ort-cpu` makes `onnx/` where it is missing):",
        "",
        _ONNX[source.kind.name],
    ]
    (directory / _FILE).write_text("\n".join(lines), encoding="utf-8")


def write_scores(directory: Path, scores: str) -> None:
    """Put what was measured, in Markdown, into the card; earlier scores give way, everything else stays as it is."""
    file = directory / _FILE
    if not file.is_file():
        return
    text = file.read_text(encoding="utf-8")
    section = f"{_BEGIN}\n## Measured\n\n{scores.strip()}\n{_END}\n"
    before, begin, rest = text.partition(_BEGIN)
    _, closed, after = rest.partition(f"{_END}\n")
    if begin and closed:
        text = before + section + after
    else:
        before, heading, after = text.partition(_LOADING)
        text = before + section + "\n" + heading + after if heading else f"{text.rstrip()}\n\n{section}"
    file.write_text(text, encoding="utf-8")


def _shares_integers(manifest: Manifest) -> bool:
    """Whether an encoder-decoder's embedding is in integers."""
    tables = [form for name, form in manifest.weights.items() if name.endswith("shared.weight")]
    return manifest.source.kind.is_seq2seq and any(form.form == "quantized" for form in tables)


def _format(manifest: Manifest) -> list[str]:
    """Which format the checkpoint is in, where it is not the usual one, and what transformers needs for it."""
    if manifest.format == DEFAULT_FORMAT:
        return []
    needed = " and ".join(find_format(manifest.format).required_packages)
    return [f"The checkpoint is in format {manifest.format}, for which transformers needs {needed}.", ""]


def _losses(manifest: Manifest) -> list[str]:
    """What was lost on the way, as far as it was measured."""
    model = total(layers_of(manifest))
    errors = [m.report.error for m in model.matrices if m.report is not None and m.report.error is not None]
    lines = []
    if model.worst is not None:
        lines.append(
            f"- relative squared error of a matrix's outputs, on the calibration text: {100 * median(errors):.3g} % in "
            f"the median, at worst {100 * max(errors):.3g} % (`{model.worst.name}`)"
        )
    return [*lines, *(f"- {notice}" for notice in notices(manifest))]
