"""Schedules: the published figures, update steps, refused arguments."""

from __future__ import annotations

import dataclasses

import pytest

from golden import golden
from sparsecore.pruning import Cubic, OneShot

# Zhu and Gupta's equation 1 with s_i = 0, s_f = 0.9, n = 10, printed to four decimals.
CUBIC_FIGURES = [0, 0.2439, 0.4392, 0.5913, 0.7056, 0.7875, 0.8424, 0.8757, 0.8928, 0.8991, 0.9]


def test_one_shot_is_final_from_step_zero():
    schedule = OneShot()
    assert [schedule.sparsity_at(step, 0.9) for step in (0, 1, 100)] == [0.9] * 3
    assert [schedule.updates_at(step) for step in (0, 1, 2)] == [True, False, False]


@pytest.mark.parametrize("begin", [0, 7])
@pytest.mark.parametrize("every", [1, 5])
def test_cubic_figures(begin, every):
    schedule = Cubic(begin, begin + 10 * every, every)
    found = [schedule.sparsity_at(begin + i * every, 0.9) for i in range(11)]
    assert found == pytest.approx(CUBIC_FIGURES, abs=0.5e-4)
    assert found[0] == 0.0
    assert found[-1] == 0.9


def test_cubic_golden_poly_schedule():
    entry = golden("poly_schedule")
    given = entry["input"]
    schedule = Cubic(given["start"], given["end"], given["update_freq"])
    # Theirs counts the step that is being taken, ours the steps that are finished.
    finished = given["step"] + 1
    assert schedule.updates_at(finished)
    assert schedule.sparsity_at(finished, given["target"]) == entry["expected"]


def test_cubic_stays_between_updates_and_outside_the_ramp():
    schedule = Cubic(begin=10, end=30, every=10)
    assert {schedule.sparsity_at(step, 0.8) for step in range(20)} == {0.0}
    assert {schedule.sparsity_at(step, 0.8) for step in range(20, 30)} == {0.8 * (1 - 0.5**3)}
    assert {schedule.sparsity_at(step, 0.8) for step in range(30, 50)} == {0.8}
    assert [step for step in range(50) if schedule.updates_at(step)] == [10, 20, 30]


def test_cubic_always_updates_at_the_end():
    schedule = Cubic(begin=0, end=10, every=4)
    assert [step for step in range(20) if schedule.updates_at(step)] == [0, 4, 8, 10]
    assert schedule.sparsity_at(10, 0.7) == 0.7


@pytest.mark.parametrize("arguments", [(-1, 5, 1), (5, 5, 1), (6, 5, 1), (0, 5, 0)])
def test_cubic_refuses_ramps_without_meaning(arguments):
    with pytest.raises(ValueError, match="expected 0 <= begin < end and every >= 1"):
        Cubic(*arguments)


def test_cubic_refuses_fractions_of_steps():
    with pytest.raises(TypeError):
        Cubic(0, 10.0, 1)


def test_schedules_are_values():
    assert Cubic(0, 10, 2) == Cubic(begin=0, end=10, every=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Cubic(0, 10, 2).every = 3
