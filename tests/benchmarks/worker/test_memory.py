"""Peaks of memory, phase by phase."""

import mmap

from compress.benchmarks.worker.memory import Phases


def test_peaks_are_counted_phase_by_phase():
    phases = Phases()
    # Mapped by itself: an array's memory may come out of what the C library keeps, and goes back there.
    with mmap.mmap(-1, 64 << 20) as memory:
        memory[:] = bytes(len(memory))
        phases.end("large")
    phases.end("freed")  # the peak begins where the memory still was
    phases.end("small")
    assert phases.peaks["large"] - phases.peaks["small"] > 48e6
    assert phases.peak >= phases.peaks["large"]
