"""cli/demo_measure.py: the density at which a sparse layer breaks even."""

import pytest

pytest.importorskip("torch")

from sparsecore.cli.demo_measure import breakeven


def test_breakeven_is_between_the_measured_densities_around_it() -> None:
    densities = [0.1, 0.2, 0.4]
    assert breakeven(densities, [1.0, 2.0, 6.0], 3.0) == pytest.approx(0.25)
    assert breakeven(densities, [1.0, 2.0, 6.0], 2.0) == pytest.approx(0.2)
    # Not faster at the first density, or faster at all.
    assert breakeven(densities, [1.0, 0.5, 2.0], 1.0) is None
    assert breakeven(densities, [1.0, 2.0, 6.0], 7.0) == 0.4
    # A time that falls again does not move it.
    assert breakeven(densities, [1.0, 3.0, 1.0], 2.0) == pytest.approx(0.15)
