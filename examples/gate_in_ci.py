"""A gate for CI: exit with code 1 where a compressed model is worse than required.

python examples/gate_in_ci.py [MODEL] [OUT] [REQUIREMENTS]

The command line does the same in one step: compress MODEL -p int8,fuse --require "retention>=0.98, bytes<=0.4x"
"""

import sys
from pathlib import Path

from compress import Model, compress_model, export, score
from compress.benchmarks.gate.judge import judge
from compress.benchmarks.gate.requirement import parse_requirements


def main(
    source: str = "demo:smollm2", out: str = "out/gate", requirements: str = "retention>=0.98, bytes<=0.4x"
) -> int:
    """Compress, export, score and judge; returns the exit code."""
    parsed = parse_requirements([requirements])  # a typo is found before the work
    model = Model.open(source)
    variant = compress_model(model, "int8,fuse", Path(out) / "int8-fuse", overwrite=True)
    export(variant)
    card = score([variant], model, out=out)

    # A figure passes or fails only where its whole 95 % confidence interval does; else it is inconclusive.
    verdicts = judge(card, parsed)
    for verdict in verdicts:
        print(f"{verdict.outcome}: {verdict}")
    return 1 if any(verdict.outcome == "failed" for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
