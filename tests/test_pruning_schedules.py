"""Schedules: the published figures, update steps, refused arguments."""

from __future__ import annotations

import dataclasses

import pytest

from golden import golden
from sparsecore.pruning import Cubic, Iterative, OneShot, Rewind

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


def test_cubic_from_an_initial_sparsity():
    schedule = Cubic(begin=10, end=20, every=1, initial=0.5)
    # Half of the way down the same curve: s_i + (s_f - s_i) * figure / 0.9.
    found = [schedule.sparsity_at(10 + i, 0.9) for i in range(11)]
    assert found == pytest.approx([0.5 + 0.4 * f / 0.9 for f in CUBIC_FIGURES], abs=1e-4)
    assert schedule.sparsity_at(9, 0.9) == 0.0
    assert schedule.sparsity_at(20, 0.9) == 0.9
    with pytest.raises(ValueError, match=r"initial is 0\.5, above the final sparsity 0\.4"):
        schedule.sparsity_at(0, 0.4)
    with pytest.raises(ValueError, match=r"initial is 1\.0, expected a fraction"):
        Cubic(0, 1, 1, initial=1.0)
    assert repr(Cubic(0, 10, 2)) == "Cubic(begin=0, end=10, every=2)"


def test_iterative_densities():
    exponential, linear = Iterative(4), Iterative(4, "linear")
    # A density of 1/16 in four rounds: halved in each.
    assert [exponential.sparsity_after(k, 15 / 16) for k in range(5)] == pytest.approx(
        [0, 1 / 2, 3 / 4, 7 / 8, 15 / 16], abs=1e-15
    )
    assert [linear.sparsity_after(k, 0.8) for k in range(5)] == pytest.approx(
        [0, 0.2, 0.4, 0.6, 0.8], abs=1e-15
    )
    assert [s.sparsity_after(4, 0.9) for s in (exponential, linear)] == [0.9, 0.9]


def test_lottery_ticket_rates():
    # 20 % of what is left in each round: 51.2 % are left after three.
    assert Iterative(3).sparsity_after(1, 1 - 0.8**3) == pytest.approx(0.2, abs=1e-15)


def test_iterative_by_steps():
    schedule = Iterative(3, every=10)
    assert [step for step in range(50) if schedule.updates_at(step)] == [10, 20, 30]
    for step in range(50):
        assert schedule.sparsity_at(step, 0.9) == schedule.sparsity_after(min(3, step // 10), 0.9)
    assert not any(Iterative(3).updates_at(step) for step in range(50))
    assert Iterative(2).gradual
    assert not Iterative(1).gradual


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((0,), ValueError), ((2, "cubic"), ValueError), ((2.0,), TypeError)],
)
def test_iterative_refuses_what_has_no_rounds(arguments, error):
    with pytest.raises(error):
        Iterative(*arguments)
    with pytest.raises(ValueError, match="every >= 1"):
        Iterative(2, every=0)


def test_rewind_refuses_negative_steps():
    with pytest.raises(ValueError, match=r"Rewind\(step=-1\): expected a step of at least 0"):
        Rewind(-1)
    with pytest.raises(TypeError):
        Rewind(0.5)
