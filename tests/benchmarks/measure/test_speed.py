"""Rounds go on until ratios are known."""

from compress.benchmarks.measure.speed import ratios_converged


def test_measuring_goes_on_until_it_is_sure():
    first = [1.0, 2.0, 4.0, 1.0, 2.0]
    steady = [2 * each for each in first]
    assert ratios_converged([first, steady, steady], 1e-9)
    assert not ratios_converged([first, steady, [*steady[:4], 5.0]], 0.02)  # five rounds' median may be any of them
    assert ratios_converged([first, steady, [*steady[:4], 5.0]], 0.13)
    assert ratios_converged([first * 2, [*(steady * 2)[:9], 5.0]], 0.02)  # one of ten is an outlier
