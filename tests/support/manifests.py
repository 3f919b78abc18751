"""Manifests of made-up errors."""

from __future__ import annotations

from typing import Any

from compress.checkpoint.files.manifest import LayerReport, Manifest, Source
from compress.weights.stored import StoredForm, WeightReport

SHAPE = (16, 32)


def stored(bits: int) -> StoredForm:
    """A matrix of so many bits in groups of 32."""
    return StoredForm(form="quantized", shape=SHAPE, nbytes=16 * 32 * bits // 8 + 32, bits=bits, group=32)


def did(solver: str, error: float | None, weight_error: float = 0.5) -> WeightReport:
    """What a solver lost."""
    return WeightReport(solver=solver, error=error, weight_error=weight_error)


def manifest(**changes: Any) -> Manifest:
    """An embedding, two layers of two matrices, a head that nothing changed."""
    down, up = "model.layers.{}.mlp.down.weight", "model.layers.{}.up.weight"
    singular = "rtn (fallback: singular Hessian)"
    facts: dict[str, Any] = {
        "source": Source(
            name="llama",
            sha256="0" * 64,
            architecture="Llama",
            kind="decoder",
            parameters=3104,
            nbytes=12416,
            tied=False,
        ),
        "pipeline": "int4,fuse",
        "recipe": ["int4:group=32", "fuse"],
        "seed": 0,
        "calibration": "wiki.txt",
        "versions": {"compress": "0.1.0"},
        "machine": {},
        "weights": {
            "model.embed.weight": stored(8),
            down.format(0): stored(4),
            up.format(0): stored(2),
            down.format(1): stored(4),
            up.format(1): stored(4),
            "lm_head.weight": StoredForm(form="dense", shape=SHAPE, nbytes=16 * 32 * 2),
        },
        "layers": {
            "embedding": LayerReport(seconds=1, weights={"model.embed.weight": did("rtn", None, 0.001)}),
            "model.layers.0": LayerReport(
                seconds=2, weights={down.format(0): did("gptq", 0.01), up.format(0): did(singular, 0.2)}
            ),
            "model.layers.1": LayerReport(
                seconds=4, weights={down.format(1): did("gptq", 0.04), up.format(1): did("gptq", 0.02, 0.25)}
            ),
        },
        "vector_nbytes": 128,
    }
    return Manifest(**{**facts, **changes})
