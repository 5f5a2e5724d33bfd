"""The cost of a kernel's call: what is fitted to samples says what they took."""

import math

import pytest

from sparsecore.cuda.costs import Cost, Work, fitted

TINY = Work(nbytes=0, operations=0)
READING = Work(nbytes=64e6, operations=32e6)
COMPUTING = Work(nbytes=100e6, operations=1e12)


def test_a_call_is_as_long_as_the_slower_of_its_bytes_and_operations():
    cost = Cost(overhead=5e-6, bandwidth=4e12, rate=5e14)
    assert cost.seconds(TINY) == 5e-6
    assert cost.seconds(READING) == pytest.approx(5e-6 + 16e-6)
    assert cost.seconds(COMPUTING) == pytest.approx(5e-6 + 2e-3)


def test_what_is_fitted_is_what_made_the_samples():
    made = Cost(overhead=7e-6, bandwidth=3.5e12, rate=6.2e14)
    found = fitted([(work, made.seconds(work)) for work in (TINY, READING, COMPUTING)])
    assert found.overhead == pytest.approx(made.overhead)
    assert found.bandwidth == pytest.approx(made.bandwidth)
    assert found.rate == pytest.approx(made.rate)


def test_no_sample_is_faster_than_what_is_fitted():
    samples = [(TINY, 6e-6), (READING, 40e-6), (Work(64e6, 64e6), 30e-6), (COMPUTING, 3e-3)]
    found = fitted(samples)
    assert all(found.seconds(work) <= seconds * (1 + 1e-12) for work, seconds in samples)
    exact = [math.isclose(found.seconds(work), seconds) for work, seconds in samples]
    assert exact == [True, False, True, True]


def test_samples_that_tell_nothing_are_refused():
    with pytest.raises(ValueError, match=r"2 samples all take 0\.1 s: nothing tells bytes"):
        fitted([(READING, 0.1), (COMPUTING, 0.1)])


@pytest.mark.parametrize("numbers", [(-1e-6, 1, 1), (0, 0, 1), (0, 1, math.nan), (math.nan, 1, 1)])
def test_numbers_that_no_kernel_has_are_refused(numbers):
    with pytest.raises(ValueError, match="expected an overhead from 0 up and positive rates, got"):
        Cost(*numbers)
