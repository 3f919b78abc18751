"""Show what a variant stores and its error, layer by layer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from compress.checkpoint.files.artifact import FILE as ARTIFACT
from compress.checkpoint.files.artifact import Artifact
from compress.checkpoint.files.manifest import Manifest
from compress.checkpoint.files.summary import LayerSummary, Matrix, layers_of, notices, total
from compress.cli.console import Console
from compress.cli.shared.options import FilePath, overwrite
from compress.cli.table import Cells
from compress.errors import ModelError, UsageError
from compress.weights.stored import PER_CHANNEL, WeightReport

NONE = "–"


@click.command("inspect")
@click.argument("path", type=FilePath(), metavar="VARIANT")
@click.option("--weights", is_flag=True, help="One row per matrix instead of one per layer.")
@click.option("--json", "as_json", is_flag=True, help="Print layers and matrices as JSON.")
@click.option(
    "--plot",
    type=FilePath(),
    metavar="FILE",
    help="Plot the errors by layer into a .png, .svg or .pdf file.",
)
@overwrite
def command(path: Path, weights: bool, as_json: bool, plot: Path | None, overwrite: bool) -> None:
    """Show what VARIANT stores and its error, layer by layer.

    Errors are relative squared errors in percent: of a matrix's outputs on the calibration data, and of its weights.
    """
    console = Console()
    manifest = Manifest.read(path)
    if plot is not None:
        _plot(manifest, plot, overwrite, console)
    if as_json:
        click.echo(json.dumps(_json(manifest), indent=2))
        return
    for line in (*_header(manifest), *_artifacts(path)):
        console.line(line)
    layers = layers_of(manifest)
    model = total(layers)
    prefix = _common_prefix(layers)
    if weights:
        matrices = [matrix for layer in layers for matrix in layer.matrices]
        console.show(_WEIGHT_HEADERS, [_weight_row(m) for m in matrices], _narrow_weights(matrices, prefix))
    else:
        rows = [*layers, model]
        console.show(_LAYER_HEADERS, [_layer_row(layer) for layer in rows], _narrow_layers(rows, prefix))
    for notice in notices(manifest):
        console.line(f"! {notice}")
    if model.worst is None:
        available = "only weight errors are" if model.solvers else "no errors are"
        console.notice(f"{available} available: no pass of this recipe measured outputs")


def _plot(manifest: Manifest, file: Path, overwrite: bool, console: Console) -> None:
    from compress.benchmarks.plots.error_matrix import plot_errors

    if file.is_file() and not overwrite:
        raise UsageError(f"{file} exists; choose another file or pass --overwrite")
    if notice := plot_errors(manifest, file):
        console.notice(notice)
    console.say(f"plot: {file}")


def _header(manifest: Manifest) -> list[str]:
    source, nbytes = manifest.source, manifest.nbytes
    return [
        f"{source.name} ({source.architecture}, {source.parameters / 1e6:.1f} million parameters)",
        f"  recipe       {','.join(manifest.recipe)}",
        f"  calibration  {manifest.calibration}",
        *([f"  parameters   {manifest.resized}"] if manifest.resized else []),
        f"  weights      {source.nbytes / 1e6:.1f} MB → {nbytes / 1e6:.1f} MB ({nbytes / source.nbytes:.2f}×), "
        f"{manifest.bits_per_weight:.2f} bits per weight",
    ]


def _artifacts(path: Path) -> list[str]:
    """A line for each artifact of a variant: the bytes of its weights, and of what else its runtime loads."""
    from compress.benchmarks.results.contender import Contender

    lines = []
    for file in sorted(path.glob(f"*/{ARTIFACT}")):
        try:
            contender = Contender.of_artifact(Artifact.open(file.parent), file.parent.name, "")
        except ModelError:  # nothing that a runtime loads, such as an engine that is still to be built
            continue
        weights, rest = contender.stored_bytes / 1e6, contender.other_bytes / 1e6
        lines.append(f"  {contender.name:<12} {weights:.1f} MB of weights, {rest:.1f} MB of graph and tables")
    return lines


_LAYER_HEADERS = ["layer", "bits/weight", "MB", "worst output error, %", "worst weight error, %", "solvers", "s"]


def _layer_row(layer: LayerSummary) -> list[str]:
    worst = layer.worst
    where = worst.name.removeprefix(f"{layer.name}.") if worst else ""
    return [
        "tied embedding, head" if layer.name == "tied" else layer.name,
        f"{layer.bits_per_weight:.2f}",
        f"{layer.nbytes / 1e6:.2f}",
        f"{_percent(worst.report.error)} {where}" if worst and worst.report else NONE,
        _percent(layer.worst_weight_error),
        ", ".join(f"{solver} ×{count}" for solver, count in layer.solvers.items()) or NONE,
        NONE if layer.seconds is None else f"{layer.seconds:.1f}",
    ]


def _common_prefix(layers: Sequence[LayerSummary]) -> str:
    """What the names of all numbered layers begin with (``model.layers.``); nothing where they differ."""
    prefixes = {layer.name.removesuffix(str(layer.index)) for layer in layers if layer.index is not None}
    return prefixes.pop() if len(prefixes) == 1 else ""


def _narrow_layers(layers: Sequence[LayerSummary], prefix: str) -> Cells:
    """The rows for a narrow terminal, without what took how long.

    What all names begin with is in the header; an exclamation mark is a fallback, which a notice below explains.
    """
    headers = [_shared("layer", prefix), "bits", "MB", "worst output error, %", "weight error, %", "solvers"]
    rows = []
    for layer in layers:
        name, bits, size, output, weight, solvers, _ = _layer_row(layer)
        rows.append(
            [name.removeprefix(prefix), bits, size, output.replace(f" {prefix}", " "), weight, _marked(solvers)]
        )
    return Cells(headers, rows)


def _narrow_weights(matrices: Sequence[Matrix], prefix: str) -> Cells:
    """Likewise, with one column for how a matrix is stored."""
    headers = [_shared("matrix", prefix), "stored as", "MB", "output error, %", "weight error, %", "solver"]
    rows = []
    for matrix in matrices:
        name, form, bits, group, zero_point, inputs, _, output, weight, _ = _weight_row(matrix)
        integers = f"int{bits} {group}" + (" asym" if zero_point == "asym" else "")
        stored = f"float{bits}" if zero_point == NONE else integers if inputs == "float" else f"{integers} {inputs}"
        stored = stored if form in ("dense", "quantized") else f"{form} {stored}"
        report = matrix.report
        solver = NONE if report is None else f"{report.method}{'!' if report.fell_back else ''}"
        size = f"{matrix.stored.nbytes / 1e6:.3g}"
        rows.append([name.removeprefix(prefix), stored, size, output, weight, solver])
    return Cells(headers, rows)


def _shared(header: str, prefix: str) -> str:
    return f"{header} of {prefix.removesuffix('.')}" if prefix else header


def _marked(solvers: str) -> str:
    return solvers.replace(" (fallback)", "!")


_WEIGHT_HEADERS = [
    "matrix",
    "form",
    "bits",
    "group",
    "zero point",
    "inputs",
    "bytes",
    "output error, %",
    "weight error, %",
    "solver",
]


def _weight_row(matrix: Matrix) -> list[str]:
    stored, report = matrix.stored, matrix.report
    base = stored.leaves[0]  # a repaired matrix's integers, or a product's left factor
    quantized = base.form == "quantized"
    return [
        matrix.name,
        stored.form,
        str(matrix.stored_bits),
        NONE if base.group is None else "channel" if base.group == PER_CHANNEL else str(base.group),
        ("sym" if base.symmetric else "asym") if quantized else NONE,
        base.act or "float",
        f"{stored.nbytes:,}",
        _percent(report.error if report else None),
        _percent(report.weight_error if report else None),
        report.solver if report else NONE,
    ]


def _percent(error: float | None) -> str:
    return NONE if error is None else f"{100 * error:.3g}"


_UNCHANGED = dict.fromkeys(WeightReport.model_fields)


def _json(manifest: Manifest) -> dict[str, object]:
    """Layers and matrices for programs: errors as fractions, sizes in bytes."""
    layers = layers_of(manifest)
    return {
        **manifest.model_dump(include={"source", "pipeline", "recipe", "seed", "calibration"}),
        "parameters": manifest.parameters,
        "nbytes": manifest.nbytes,
        "ratio": manifest.nbytes / manifest.source.nbytes,
        "bits_per_weight": manifest.bits_per_weight,
        "fallbacks": [m.name for layer in layers for m in layer.matrices if m.report and m.report.fell_back],
        "layers": [
            {
                "name": layer.name,
                "nbytes": layer.nbytes,
                "parameters": layer.parameters,
                "bits_per_weight": layer.bits_per_weight,
                "worst": layer.worst.name if layer.worst else None,
                "solvers": dict(layer.solvers),
                "seconds": layer.seconds,
                "weights": [
                    {"name": m.name, **m.stored.model_dump(), **(m.report.model_dump() if m.report else _UNCHANGED)}
                    for m in layer.matrices
                ],
            }
            for layer in layers
        ],
    }
