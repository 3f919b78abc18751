"""Every architecture of a kind that is known, as tiny random models: what is compressed, what is refused, and why."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import textwrap
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers

from compress.api.compress_model import resolve_for_targets
from compress.api.target_set import TargetSet
from compress.calibration import precision
from compress.calibration.data import Calibration
from compress.calibration.layer_inputs import LayerInputs
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.errors import CompressError
from compress.export.targets.base import find_target
from compress.modeling.families import family_of
from compress.modeling.modules import stacks
from compress.pipeline.parse import Pipeline
from compress.pipeline.run import run_pipeline
from compress.progress import Silent
from tests.support.architectures import ARCHITECTURES
from tests.support.models import add_noise_to_vectors, copy_checkpoint, save_model
from tests.whole.test_families import check_reading, example_inputs, loaded, read_by

_FOLDER = re.compile(r"(/[^\s:/]+)*/tmp\w+(/[\w.]+)*")
PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"


@dataclass(frozen=True)
class Row:
    """What came of an architecture: by step, ``ok`` or the reason in one line."""

    model_type: str
    kind: str
    outcomes: Mapping[str, str]
    seconds: float = 0.0


STEPS = {"walk": "layer by layer", "int8": "hf int8", "int4": "hf int4", "fuse": "ort-cpu"}
"""What is tried once a model is open, and the title of its column."""


def try_architecture(model_type: str) -> Row:
    """Try everything with a tiny random model of a type."""
    begin, family = time.monotonic(), family_of(model_type)
    outcomes: dict[str, str] = {}
    if family is None:
        return Row(model_type, "", {"open": "transformers has no class of a kind that is known here"})
    with tempfile.TemporaryDirectory() as folder:
        try:
            source = save_model(Path(folder) / "source", family.cls, None, **ARCHITECTURES[model_type])
        except Exception as error:  # settings that don't fit each other
            return Row(model_type, family.kind.name, {"made": f"{type(error).__name__}: {error}"})
        try:
            path = copy_checkpoint(source, Path(folder) / "model", add_noise_to_vectors)
            model = Model.open(str(path))
            outcomes = {step: outcome(lambda try_it=try_it: try_it(model, path, Path(folder)))  # type: ignore[misc]
                        for step, try_it in TRIES.items()}  # fmt: skip
        except CompressError as error:
            outcomes = {"open": short(error)}
    return Row(model_type, family.kind.name, outcomes, time.monotonic() - begin)


def outcome(attempt: Callable[[], str | None]) -> str:
    """What came of an attempt: what it says, the reason that it was refused for, or how it failed."""
    try:
        return attempt() or "ok"
    except CompressError as error:
        return short(error)
    except Exception as error:  # a mistake of ours, which the table is to show
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"FAILS: {type(error).__name__}: {short(error)} ({Path(place.filename).name}:{place.lineno})"


def short(error: Exception) -> str:
    """The first words of an error, without the folder that it is about."""
    text = _FOLDER.sub("", " ".join(str(error).split())).lstrip(": ")
    return text if len(text) <= 160 else f"{text[:160]}…"


def walk_difference(model: Model, path: Path, folder: Path) -> str | None:
    """How far layers that are run one by one are from what they leave in the whole model; None where they aren't."""
    module, outputs, walked = loaded(path, model), [], {}
    for _, layers in stacks(module):
        layers[-1].register_forward_hook(lambda *call: outputs.append(call[2]))
    for block, inputs in walk_blocks(model, read_by(model.kind), Silent()):
        if isinstance(inputs, LayerInputs):
            walked[block.name.rpartition(".")[0]] = inputs.states
    with torch.inference_mode():
        module(**example_inputs(module))
    for states, output in zip(walked.values(), outputs, strict=True):
        expected = output[0] if isinstance(output, tuple | list) else output
        difference = float((torch.cat(states) - expected).norm() / expected.norm())
        if difference > 1e-4:
            return f"WRONG: layers by themselves differ from the module's by {difference:.2g}"
    return None


def write_variant(model: Model, text: str, folder: Path) -> None:
    """Make a variant for transformers, which has to read it to the same logits."""
    pipeline, target, out = Pipeline.parse(text), find_target("hf"), folder / text.partition(":")[0]
    out.mkdir()
    pipeline = resolve_for_targets(model, pipeline, TargetSet((target,)))
    data = Calibration(read_by(model.kind), "test")
    variant = run_pipeline(model, pipeline, target.capability, out, lambda: data, 0, Silent())
    check_reading(variant, text.partition(":")[0])


def export_graph(model: Model, folder: Path) -> None:
    """Export a graph, which the parity gate holds against torch."""
    pipeline, target = Pipeline.parse("fuse"), find_target("ort-cpu")
    pipeline = resolve_for_targets(model, pipeline, TargetSet((target,)))
    target.export(model, pipeline.graph_passes, folder, Silent())


TRIES: Mapping[str, Callable[[Model, Path, Path], str | None]] = {
    "walk": walk_difference,
    "int8": lambda model, _, folder: write_variant(model, "int8:group=channel", folder),
    "int4": lambda model, _, folder: write_variant(model, "int4:group=32", folder),
    "fuse": lambda model, _, folder: export_graph(model, folder),
}


def page(rows: Sequence[Row]) -> str:
    """The page of the docs: a table, and the reasons by their numbers."""
    reasons: dict[str, int] = {}

    def cell(row: Row, step: str) -> str:
        text = row.outcomes.get(step) or next(iter(row.outcomes.values()))
        return "✓" if text == "ok" else str(reasons.setdefault(text, len(reasons) + 1))

    made = [row for row in rows if "made" not in row.outcomes]
    table = [f"| {row.model_type} | {row.kind} | {' | '.join(cell(row, step) for step in STEPS)} |" for row in made]
    whole = sum(all(text == "ok" for text in row.outcomes.values()) for row in made)
    lines = [
        "# Architectures",
        "",
        f"{len(made)} of transformers' architectures, each as a tiny random model: its layers run one by one as in the",
        "module; 8-bit and 4-bit variants, which transformers reads back to the same logits; a fused graph, which the",
        f"parity gate holds against torch. {whole} go through all of it; a number is a reason below, and a graph that",
        "comes out wrong is refused. `make families` writes this page; those in [families.md](families.md) go through",
        "more.",
        "",
        f"| model type | kind | {' | '.join(STEPS.values())} |",
        "| --- | --- |" + " --- |" * len(STEPS),
        *table,
        "",
        *(textwrap.fill(f"{number}. {text}", 110, subsequent_indent="    ") for text, number in reasons.items()),
    ]
    return "\n".join([*lines, ""])


def main(names: Sequence[str]) -> int:
    """Print what came of each architecture; of all of them, write the page."""
    rows = []
    for name in names or ARCHITECTURES:
        rows.append(row := try_architecture(name))
        print(f"{name:24} {row.kind:18} {row.seconds:5.1f} s", flush=True)
        for step, text in row.outcomes.items():
            if text != "ok":
                print(f"    {step}: {text[:400]}", flush=True)
    if not names:
        PAGE.write_text(page(rows))
    return int(any(text.startswith(("WRONG", "FAILS")) for row in rows for text in row.outcomes.values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    precision.native_bfloat16 = lambda: False  # the walk is held against products in float32
    sys.exit(main(parser.parse_args().names))
