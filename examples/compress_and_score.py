"""Compress a model to 8 bits, export it to ONNX Runtime, and measure what was gained and lost.

python examples/compress_and_score.py [MODEL] [OUT]
"""

import sys
from pathlib import Path

from compress import Model, Pipeline, compress_model, export, score


def main(source: str = "demo:smollm2", out: str = "out/example") -> None:
    """Make one variant of a model in the directory ``out``, and print how it compares."""
    # A directory, a Hugging Face Hub id, or a demo. Nothing but headers is read yet.
    model = Model.open(source)

    # Passes in order; `compress passes` lists them all. `int8` changes the weights, `fuse` the exported graph.
    pipeline = Pipeline.parse("int8,fuse")
    variant = compress_model(model, pipeline, Path(out) / pipeline.slug, target="ort-cpu", seed=0, overwrite=True)

    # The artifact goes into the variant's directory. It is verified against torch before it appears there.
    artifact = export(variant, target="ort-cpu")
    print(f"{artifact.stored_bytes / 1e6:.1f} MB in {artifact.path}")

    # The original in torch, its float export and the variant, in one interleaved run; the report goes into `out`.
    card = score([variant], model, out=out)
    for name in ("torch", "onnx float", pipeline.slug):
        measures = card.row(name).measures
        print(f"{name}: {measures['disk_bytes'].value / 1e6:.1f} MB, retention {measures['retention'].value:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
