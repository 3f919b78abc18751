from typing import ClassVar, Literal

from click.testing import CliRunner
from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.cli.main import cli
from compress.pipeline import contract
from compress.pipeline.contract import WeightPass
from compress.weights.forms import Dense, Quantized


def test_options_and_schemes_are_listed_under_their_pass(monkeypatch):
    monkeypatch.setattr(contract, "_registry", dict(contract._registry))

    @dataclass(frozen=True)
    class Squeeze(WeightPass):
        """Does nothing."""

        name: ClassVar[str] = "squeeze"
        produces: ClassVar[tuple[type, ...]] = (Quantized, Dense)
        presets: ClassVar[dict[str, str]] = {"S4A16": "group=128", "S4A16_ASYM": "group=128:asym"}

        group: Literal["32", "128"] = Field("32", description="inputs that share a scale")
        mixed: float | None = Field(None, gt=0, le=8)
        budget: float | Literal["none"] = "none"
        skip: str = ""

        def apply(self, name, weight, stats):
            return weight

    shown = CliRunner().invoke(cli, ["passes"]).output
    assert shown[shown.index("squeeze") :].splitlines()[:9] == [
        "squeeze  Does nothing.",
        "    weights: Dense → Quantized or Dense",
        "    group=32  (32 | 128)",
        "        inputs that share a scale",
        "    mixed=None  (float | none, > 0, ≤ 8)",
        "    budget=none  (none | float)",
        "    skip=  (str)",
        "    S4A16 = squeeze:group=128",
        "    S4A16_ASYM = squeeze:group=128:asym",
    ]


def test_passes_lists_every_option(inside):
    done = inside("passes")
    assert done.returncode == 0
    for word in ("bf16", "fp16", "fuse", "int8", "group=auto", "act=auto", "smooth=auto", "head=auto", "embed=auto"):
        assert word in done.stdout


def test_one_pass_is_shown_by_its_name_or_a_scheme_of_it(inside):
    shown = inside("passes", "int4").stdout
    assert shown.startswith("int4  ")
    assert shown.count("weights: ") == 1
    assert inside("passes", "W4A16").stdout == shown
    assert inside("passes", "int4", "fuse").stdout.startswith(shown)
    done = inside("passes", "itn4")
    assert (done.returncode, done.stderr) == (2, "compress: unknown pass 'itn4'; did you mean 'int4'?\n")
