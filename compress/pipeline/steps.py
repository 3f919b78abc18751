"""Run weight passes over one block, and check what each of them left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from compress.calibration.block import Block
from compress.calibration.layer_inputs import BlockInputs
from compress.errors import PassError
from compress.modeling.architecture import Architecture
from compress.pipeline.contract import WeightPass
from compress.weights.forms import Weight, is_finite, keeps_zeros
from compress.weights.stored import WeightReport


class Step(NamedTuple):
    """A pass, and the shape of every tensor after it, by the name that it is stored by."""

    weight_pass: WeightPass
    shapes: Mapping[str, tuple[int, ...]]


def plan_steps(architecture: Architecture, passes: Iterable[WeightPass]) -> tuple[list[Step], Architecture]:
    """The steps that passes make of a model's architecture, and the architecture that all of them together leave."""
    steps = []
    for pass_ in passes:
        architecture = architecture.resized(pass_.resize)
        steps.append(Step(pass_, architecture.outline.shapes))
    return steps, architecture


def run_steps(steps: Sequence[Step], block: Block, inputs: BlockInputs, index: int) -> list[WeightPass]:
    """Run passes over a block, which will be the variant's layer ``index`` unless one drops it.

    Returns those that changed something. Raises PassError where one breaks its contract.
    """
    acted: list[WeightPass] = []
    for pass_, shapes in steps:
        weights, vectors, reports = dict(block.weights), dict(block.vectors), dict(block.reports)
        pass_.run(block, inputs)
        if block.dropped:
            return [*acted, pass_]
        _check_shapes(pass_, block, block.numbered(index), shapes)
        _check_weights(pass_, weights, block.weights)
        _complete_reports(pass_, block, weights, reports)
        if _changed(weights, block.weights) or _changed(vectors, block.vectors):
            acted.append(pass_)
    return acted


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> bool:
    return any(after[name] is not old for name, old in before.items())


def _complete_reports(
    pass_: WeightPass, block: Block, weights: Mapping[str, Weight], reports: Mapping[str, WeightReport]
) -> None:
    """Report what a pass cost the matrices that it changed without a report of its own.

    ``weights`` and ``reports`` are the block's before the pass. An earlier report stays in front: ``sparsegpt, then
    gptq``. Errors are the last pass's own.
    """
    for name, old in weights.items():
        new, earlier = block.weights[name], reports.get(name)
        if new is not old and block.reports.get(name) is earlier:
            block.reports[name] = WeightReport.of(pass_.name, old.dequantize(), new.dequantize())
        latest = block.reports.get(name)
        if earlier is not None and latest is not None and latest is not earlier:
            both = {
                "solver": f"{earlier.solver}, then {latest.solver}",
                "underflow": earlier.underflow + latest.underflow,
            }
            block.reports[name] = latest.model_copy(update=both)


def _check_shapes(pass_: WeightPass, block: Block, stored: Block, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare a block's shapes with those that the variant's config gives; ``stored`` has the names in the variant."""
    tensors = {**block.weights, **block.vectors}
    for name, stored_name in zip(tensors, {**stored.weights, **stored.vectors}, strict=True):
        shape = tuple(tensors[name].shape)
        if shape != (expected := shapes.get(stored_name, shape)):
            raise PassError(
                f"{pass_.name} left {name} as {list(shape)}, but by the variant's config {list(expected)} is needed"
            )


def _check_weights(pass_: WeightPass, before: Mapping[str, Weight], after: Mapping[str, Weight]) -> None:
    """The postconditions of every pass; a PassError names the pass, the weight and what it broke."""
    for name, old in before.items():
        new = after.get(name)
        if new is None:
            raise PassError(f"{pass_.name} lost {name}; this is a bug in the pass")
        if new is old:
            continue
        if new.nbytes() > old.nbytes():
            raise PassError(f"{pass_.name} made {name} larger: {new.nbytes()} bytes instead of {old.nbytes()}")
        if not is_finite(new):
            raise PassError(f"{pass_.name} left NaN or infinite values in {name}")
        if not keeps_zeros(old, new):
            raise PassError(f"{pass_.name} filled or forgot zeros of {name} that an earlier pass had promised to keep")
