"""Peaks of memory, phase by phase."""

import numpy as np

from compress.benchmarks.worker.memory import Phases


def test_peaks_are_counted_phase_by_phase():
    phases = Phases()
    array = np.ones(8 << 20)  # 64 MB
    phases.end("large")
    del array
    phases.end("freed")  # the peak begins where the memory still was
    phases.end("small")
    assert phases.peaks["large"] - phases.peaks["small"] > 48e6
    assert phases.peak >= phases.peaks["large"]
