"""Target ``hf``: the variant's own directory, a checkpoint that transformers loads as it is, in a format to choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import torch
import transformers
from torch import Tensor

from compress.calibration.model_inputs import model_inputs
from compress.checkpoint.base import Checkpoint
from compress.checkpoint.files.artifact import Artifact
from compress.checkpoint.variant import Variant
from compress.checkpoint.writing.layout import Layout
from compress.errors import ExportError, ModelError, UsageError
from compress.export.parity.compare import relative_error
from compress.export.parity.sample import sample_input
from compress.export.targets.base import Target
from compress.formats.base import CheckpointFormat, find_format
from compress.formats.compressed_tensors import CompressedTensorsFormat, quantization_config
from compress.graph.builder import required
from compress.modeling.architecture import Architecture
from compress.modeling.classifier import auto_class
from compress.modeling.quiet import first_line, quiet_transformers
from compress.modeling.seq2seq import decoder_inputs, read_per_decoded_token
from compress.modeling.transformers_private import quiet_compressed_tensors
from compress.pipeline.contract import GraphPass, TargetCapability
from compress.progress import Progress
from compress.weights.forms import Dense, Masked, Quantized
from compress.weights.stored import StoredForm

_TOLERANCE = 1e-4
"""Largest relative error allowed: both sides compute in float32 from the same integers and scales."""
_HALVED = 0.01
"""The same where transformers leaves the products to kernels that compute in 16 bits. Measured: 0.001."""
_ROUNDED = 0.25
"""The same where transformers rounds the inputs too, as the scheme asks it to."""


class Hf(Target):
    """Holds floats and integers of 2 to 8 bits; there is no graph, so no graph pass applies."""

    name = "hf"
    folder = ""
    fix = "--merge stores such a matrix multiplied out, as one dense matrix; --target ort-cpu holds it as it is"
    capability = TargetCapability(
        name, (Dense, Masked, Quantized), frozenset(range(2, 9)), graphs=False, any_linear=False, any_table=False
    )

    def __init__(self, format: CheckpointFormat | None = None) -> None:
        self.format = format or CompressedTensorsFormat()
        self.restricted = self.format.restricted

    def with_format(self, name: str) -> Self:
        """Choose the checkpoint format of variants."""
        return type(self)(find_format(name))

    def check_weights(self, architecture: Architecture, weights: Mapping[str, StoredForm]) -> None:
        """Refuse matrices that transformers would not load; those that it refuses by their shapes, others may read."""
        super().check_weights(architecture, weights)
        problem = Layout(architecture, self.format).problem(weights)
        if problem is not None and not problem.says_so:
            raise UsageError(f"transformers can't load {problem}; --target ort-cpu holds them")

    def export(
        self, checkpoint: Checkpoint, graph_passes: Sequence[GraphPass], out: Path, progress: Progress
    ) -> Artifact:
        """Verify that others read the variant in ``out`` to the same numbers, and write its sizes into it."""
        if not isinstance(checkpoint, Variant) or out.resolve() != checkpoint.path.resolve():
            raise UsageError(f"{self.name}: a variant is its own artifact, and nothing else is; leave out -o")
        _verify(checkpoint, progress)
        zeros = any(form.masked for form in checkpoint.manifest.weights.values())
        sizes = checkpoint.parameters, *_sizes(checkpoint)
        artifact = Artifact(out, self.name, checkpoint.kind, *sizes, zeros=zeros)
        artifact.save()
        return artifact


def _verify(variant: Variant, progress: Progress) -> None:
    """Compare what others read with what the variant holds, as far as the readers are here; a notice says how far."""
    if absent := [module for module in variant.format.required_packages if find_spec(module) is None]:
        progress.notice(
            f"not verified: loading {variant.format.name} in transformers needs {' and '.join(absent)}; "
            "pip install 'compress-models[gptq]'"
        )
        return
    asymmetric = [name for name, form in variant.manifest.weights.items() if not form.symmetric]
    if asymmetric and isinstance(variant.format, CompressedTensorsFormat):
        _verify_matrices(variant, asymmetric)
        progress.notice(
            f"transformers {transformers.__version__} does not load packed zero points as they are stored: "
            f"asymmetric weights were checked with compressed-tensors {metadata.version('compressed-tensors')} alone"
        )
    else:
        _verify_loading(variant)


def _verify_loading(variant: Variant) -> None:
    """Load a variant as its user will, and compare its output; an ExportError where it differs."""
    model = variant.torch_module()
    module = model if variant.kind.has_head else model.base_model
    auto = getattr(transformers, auto_class(variant.kind, variant.architecture.class_name))
    sample = sample_input(variant)
    inputs = model_inputs(sample if variant.kind.is_vision else sample[None])
    if variant.kind.is_seq2seq:
        inputs["decoder_input_ids"] = decoder_inputs(variant.config, inputs["input_ids"])
    try:
        with quiet_transformers(), quiet_compressed_tensors(), torch.inference_mode():
            theirs = auto.from_pretrained(
                variant.path, dtype=torch.float32, local_files_only=True, trust_remote_code=False
            ).eval()
            output = theirs(**inputs)[0]
    except Exception as error:  # transformers raises whatever its loaders raise
        raise ExportError(f"transformers can't load the variant: {first_line(error)}; nothing was written") from error
    with torch.inference_mode():
        expected = module(**inputs)[0]
    if not expected.isfinite().all():
        raise ModelError("the model itself gives NaN or infinity in torch")
    dynamic = any(form.act == "dynamic" for form in variant.manifest.weights.values())
    exact = _HALVED if variant.format.required_packages else _TOLERANCE
    # An undecided classifier's logits are near 0: what is off is measured in nats then.
    difference = relative_error(output.numpy(), expected.numpy(), 1.0 if variant.kind.has_classes else 0.0)
    allowed = _ROUNDED if dynamic else exact
    if not difference <= allowed:
        raise ExportError(
            "transformers loads other numbers than the variant holds: its output's relative error is "
            f"{difference:.3g}, allowed {allowed}; nothing was written"
        )


def _verify_matrices(variant: Variant, names: Sequence[str]) -> None:
    """Compare what compressed-tensors makes of each matrix with ``dequantize()``; an ExportError where it differs."""
    from compressed_tensors.compressors import BaseCompressor  # here: the library takes seconds to import
    from compressed_tensors.quantization import QuantizationScheme

    for name in names:
        packed = f"{name}_packed" in variant.shards.where
        config = quantization_config({name: variant.manifest.weights[name]}, [name] if packed else [], "")
        config = required(config)
        scheme = QuantizationScheme.model_validate(config["config_groups"]["group_0"])
        stem = name.removesuffix("weight")
        stored = {
            key.removeprefix(stem): variant.shards.raw(key) for key in variant.shards.where if key.startswith(name)
        }
        stored["weight_scale"] = stored["weight_scale"].float()  # its arithmetic is the scale's
        theirs: Tensor = BaseCompressor.get_value_from_registry(config["format"]).decompress(stored, scheme)["weight"]
        if not torch.equal(theirs, variant.weight(name).dequantize()):
            raise ExportError(
                f"compressed-tensors reads other numbers than the variant holds in {name}; nothing written"
            )


def _sizes(variant: Variant) -> tuple[int, int]:
    """Bytes of all stored weights, and of those that decoding a token reads: no encoder, no table only looked up in."""
    every = {name: variant.shards.raw(name).nbytes for name in variant.shards.where}
    outline = variant.architecture.outline
    if variant.kind.is_seq2seq:
        module = variant.architecture.meta_module()
        return sum(every.values()), sum(size for name, size in every.items() if read_per_decoded_token(module, name))
    head = next(iter(outline.tied), "").removesuffix("weight")
    tables = {name.removesuffix(".weight") for name in outline.tables}
    alone = not variant.tied or any(name.startswith(head) for name in every)
    looked_up = sum(size for name, size in every.items() if alone and name.rpartition(".")[0] in tables)
    return sum(every.values()), sum(every.values()) - looked_up
