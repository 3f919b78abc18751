"""Summary of a variant's manifest, layer by layer: sizes, errors, solvers and fallbacks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from compress.checkpoint.files.manifest import Manifest
from compress.weights.stored import StoredForm, WeightReport

_LAYER = re.compile(r"(?P<layer>(?:.+?\.)?(?P<index>\d+))\.(?P<local>.+)")
_NAMED_IN_NOTICE = 3


@dataclass(frozen=True)
class Matrix:
    """One matrix: ``name`` without ``.weight``, ``local_name`` its name inside its layer (``self_attn.q_proj``).

    ``report`` is None where no pass changed it.
    """

    name: str
    local_name: str
    stored: StoredForm
    report: WeightReport | None

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return self.stored.shape[0] * self.stored.shape[1]

    @property
    def stored_bits(self) -> int:
        """Bits of one stored number, scales not counted: a float's width where it isn't quantized.

        Of a matrix in parts, those of the widest.
        """
        return max(leaf.bits or 8 * leaf.nbytes // (leaf.shape[0] * leaf.shape[1]) for leaf in self.stored.leaves)


@dataclass(frozen=True)
class LayerSummary:
    """Matrices that are worked on at one time; ``index`` counts repeated layers and is None for what is outside them.

    ``seconds`` is None where the manifest doesn't say.
    """

    name: str
    index: int | None
    matrices: tuple[Matrix, ...]
    seconds: float | None

    @property
    def nbytes(self) -> int:
        """Bytes as stored."""
        return sum(matrix.stored.nbytes for matrix in self.matrices)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(matrix.parameters for matrix in self.matrices)

    @property
    def bits_per_weight(self) -> float:
        """Stored bits over weights, scales and zero points included."""
        return 8 * self.nbytes / self.parameters if self.parameters else 0.0

    @property
    def worst(self) -> Matrix | None:
        """The matrix with the largest relative output error, or None where none is known."""
        errors = [(m.report.error, m) for m in self.matrices if m.report is not None and m.report.error is not None]
        return max(errors, key=lambda pair: pair[0])[1] if errors else None

    @property
    def worst_weight_error(self) -> float | None:
        """The largest relative error of a matrix itself, or None where none was changed."""
        return max((m.report.weight_error for m in self.matrices if m.report is not None), default=None)

    @property
    def solvers(self) -> Counter[str]:
        """Number of matrices by solver, without its particulars; those that fell back are counted apart."""
        reports = [matrix.report for matrix in self.matrices if matrix.report is not None]
        return Counter(f"{report.method} (fallback)" if report.fell_back else report.method for report in reports)


def layers_of(manifest: Manifest) -> list[LayerSummary]:
    """Summaries of all layers, in the model's order; a matrix outside the layers has one of its own.

    A matrix outside the layers goes by its block's name (``embedding``, ``head``) where that was reported, else by its
    own.
    """
    blocks = {name: block for block, report in manifest.layers.items() for name in report.weights}
    reports = {name: report for layer in manifest.layers.values() for name, report in layer.weights.items()}
    seconds = {block: report.seconds for block, report in manifest.layers.items()}
    matrices: dict[str, list[Matrix]] = {}
    indices: dict[str, int] = {}
    for name, stored in manifest.weights.items():
        plain = name.removesuffix(".weight")
        if inside := _LAYER.fullmatch(plain):
            layer, local_name = inside["layer"], inside["local"]
            indices[layer] = int(inside["index"])
        else:
            layer = local_name = blocks.get(name, plain)
        matrices.setdefault(layer, []).append(Matrix(plain, local_name, stored, reports.get(name)))
    return [
        LayerSummary(name, indices.get(name), tuple(inside), seconds.get(name)) for name, inside in matrices.items()
    ]


def total(layers: Sequence[LayerSummary]) -> LayerSummary:
    """One summary of all layers together."""
    matrices = tuple(matrix for layer in layers for matrix in layer.matrices)
    seconds = [layer.seconds for layer in layers if layer.seconds is not None]
    return LayerSummary("all matrices", None, matrices, sum(seconds) if seconds else None)


def notices(manifest: Manifest) -> list[str]:
    """Notices for the user on how matrices were solved, in single lines."""
    return [notice for notice in (fallback_notice(manifest), _left_dense(manifest), _underflow(manifest)) if notice]


def _underflow(manifest: Manifest) -> str | None:
    """One line on the numbers that became 0 because a 16-bit type holds none so small, most by tensor first."""
    reports = {name: report for layer in manifest.layers.values() for name, report in layer.weights.items()}
    counts = Counter({name: report.underflow for name, report in reports.items() if report.underflow})
    if not counts:
        return None
    shown, more = counts.most_common(_NAMED_IN_NOTICE), len(counts) - _NAMED_IN_NOTICE
    sizes = {name: form.shape[0] * form.shape[1] for name, form in manifest.weights.items()}
    of = {name: f" of {sizes[name]}" if name in sizes else "" for name, _ in shown}
    listed = ", ".join(f"{count}{of[name]} in {name.removesuffix('.weight')}" for name, count in shown)
    listed += f" and {more} more" if more > 0 else ""
    return f"{counts.total()} number{'' if counts.total() == 1 else 's'} underflowed to 0: {listed}"


def _left_dense(manifest: Manifest) -> str | None:
    """One line on the matrices that weren't factored because their products would not be smaller."""
    reports = {name: report for layer in manifest.layers.values() for name, report in layer.weights.items()}
    dense = sum(report.left_dense for report in reports.values())
    if not dense:
        return None
    products = {name for name, form in manifest.weights.items() if form.form == "factored"}
    merged = {name for name, report in reports.items() if report.factored}
    return (
        f"{dense} of {dense + len(products | merged)} matrices were left dense: as products they would not be smaller"
    )


def fallback_notice(manifest: Manifest) -> str | None:
    """One line on the matrices whose solver gave way to a simpler one, and why; None where none did."""
    fallen: dict[str, list[str]] = {}
    for report in manifest.layers.values():
        for name, weight in report.weights.items():
            if weight.fell_back:
                fallen.setdefault(weight.solver, []).append(name.removesuffix(".weight"))
    return "; ".join(_fell_back(solver, names) for solver, names in fallen.items()) or None


def _fell_back(report: str, names: list[str]) -> str:
    solver, _, fallback = report.partition(" (fallback")
    reason = fallback.removesuffix(")").removeprefix(": ")
    reason = f" ({reason})" if reason else ""
    shown, more = names[:_NAMED_IN_NOTICE], len(names) - _NAMED_IN_NOTICE
    listed = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    return f"{len(names)} {'matrix' if len(names) == 1 else 'matrices'} fell back to {solver}{reason}: {listed}"
