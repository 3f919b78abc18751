"""What of a run is overhead."""

from compress.benchmarks.results.phases import overhead


def test_overhead_is_all_that_measures_nothing():
    measured = {"speed": 20.0, "accuracy": 10.0, "labels": 5.0, "tasks": 7.0}
    assert overhead(measured) == 0
    assert overhead(measured | {"load": 3.0, "warm-up": 2.0, "pauses": 1.5}) == 6.5
