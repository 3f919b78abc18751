"""The table of metrics, and the page that explains it."""

import re
from pathlib import Path

from compress.benchmarks.results.metrics import METRICS

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
STORED = {
    "seconds": {"s"},
    "bytes": {"bytes"},
    "share": {"share"},
    "number": {"tokens/s", "1/s", "1", "bits", "nats", "money"},
}


def test_every_metric_is_explained_with_its_unit_and_direction():
    table = PAGE[: PAGE.index("know some by other names")]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| `")]
    explained = {key: (unit, better) for keys, _, unit, better, _ in rows for key in re.findall(r"`(\w+)`", keys)}
    assert explained.keys() == {metric.key for metric in METRICS}
    for metric in METRICS:
        unit, better = explained[metric.key]
        assert unit in STORED[metric.unit]
        assert better == metric.better
