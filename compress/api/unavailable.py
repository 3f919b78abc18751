"""Targets of several that can't be run here: found before anything is measured, told in rows of their own."""

from __future__ import annotations

from collections.abc import Sequence

from compress.api.score_plan import ExportedVariant
from compress.benchmarks.results.contender import loaded_bytes, loaded_files
from compress.benchmarks.results.scorecard import Row
from compress.benchmarks.runtime.specs import spec_of_target
from compress.benchmarks.statistics.measure import Measure
from compress.benchmarks.worker.client import Worker
from compress.errors import MissingComponentError
from compress.system.cores import granted_threads


def unavailable_reasons(exported: Sequence[ExportedVariant], threads: int | None) -> dict[str, str]:
    """Why a target can't be run here, by its name; nothing for those that can, each of which loads one artifact.

    Raises RunError where it could be run, and can't load that.
    """
    reasons: dict[str, str] = {}
    for one in {one.target.name: one for one in reversed(exported)}.values():
        spec = spec_of_target(one.target.name)
        if spec is not None and not loaded_files(one.path, spec.name):
            reasons[one.target.name] = f"{' or '.join(spec.files[0])} is made where {one.target.name} can be run"
            continue
        contender = one.contender()
        try:
            Worker(contender, granted_threads(threads)).close()
        except MissingComponentError as error:
            reasons[one.target.name] = str(error).removeprefix(contender.name).removeprefix(":").strip()
    return reasons


def unmeasured_row(exported: ExportedVariant, reason: str) -> Row:
    """Row of an artifact that can't be run here, and for what ``reason``: its sizes alone."""
    artifact, spec = exported.artifact(), spec_of_target(exported.target.name)
    sizes = {"bits_per_weight": Measure(value=8 * artifact.stored_bytes / artifact.parameters)}
    if spec is not None and loaded_files(artifact.path, spec.name):
        loaded = loaded_bytes(artifact.path, spec.name)
        sizes |= {"disk_bytes": Measure(value=loaded), "other_bytes": Measure(value=loaded - artifact.stored_bytes)}
    return Row(
        name=exported.name,
        path=str(artifact.path),
        engine=exported.target.name if spec is None else spec.name,
        role="variant",
        recipe=str(exported.pipeline),
        parameters=artifact.parameters,
        zeros=artifact.zeros,
        products=artifact.products,
        passes=exported.passes,
        measures=sizes,
        errors=exported.errors,
        unavailable=reason,
    )
