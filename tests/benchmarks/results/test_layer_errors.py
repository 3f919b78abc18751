"""Errors of the layers, from a manifest."""

from compress.benchmarks.results.layer_errors import LayerErrors, layer_errors
from compress.checkpoint.files.manifest import LayerReport, Manifest, Source
from compress.weights.stored import StoredForm, WeightReport


def test_each_layers_worst_matrix_counts():
    def manifest(*reports):
        weights = {f"model.layers.{i}.{kind}.weight": report for i, kind, report in reports}
        return Manifest(
            source=Source(
                name="tiny", sha256="0", architecture="A", kind="decoder", parameters=8, nbytes=32, tied=False
            ),
            pipeline="int4", recipe=[], seed=0, calibration="none", versions={}, machine={},
            weights={name: StoredForm.dense((2, 2), 4) for name in weights},
            layers={"all": LayerReport(seconds=1, weights=weights)},
        )  # fmt: skip

    def report(error, weight_error):
        return WeightReport(solver="gptq", error=error, weight_error=weight_error)

    losses = [
        (0, "q", report(0.1, 0.5)),
        (0, "k", report(0.3, 0.2)),
        (1, "q", report(0.2, 0.9)),
        (2, "q", report(0, 0)),
    ]
    assert layer_errors(manifest(*losses)) == LayerErrors("outputs", (0, 1), (0.3, 0.2))
    assert layer_errors(manifest((4, "q", report(None, 0.2)))) == LayerErrors("weights", (4,), (0.2,))
    assert layer_errors(manifest()) is None
