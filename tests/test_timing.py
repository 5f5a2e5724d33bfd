"""timing.py: the loop against a clock that the contenders themselves move."""

import gc
import json
import platform
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from sparsecore import timing


class FakeMachine:
    """A clock that only moves when a contender runs; each contender has its own cost."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []
        self.collecting: list[bool] = []

    def clock(self) -> float:
        return self.now

    def contender(self, name: str, *seconds: float):
        costs = list(seconds)

        def call() -> None:
            self.now += costs[0] if len(costs) == 1 else costs.pop(0)
            self.calls.append(name)
            self.collecting.append(gc.isenabled())

        return call


def test_medians_are_the_costs_per_call_and_keep_the_order_of_the_contenders() -> None:
    machine = FakeMachine()
    contenders = {"slow": machine.contender("slow", 0.5), "fast": machine.contender("fast", 0.25)}
    times = timing.interleaved(
        contenders, min_runs=5, min_seconds=0.0, warmup=0, clock=machine.clock
    )
    assert list(times) == ["slow", "fast"]
    assert times["slow"] == timing.Timing(0.5, 0.5, 0.5, 5)
    assert times["fast"] == timing.Timing(0.25, 0.25, 0.25, 5)


def test_the_order_of_turns_differs_between_rounds_but_not_between_runs() -> None:
    machine = FakeMachine()
    contenders = {name: machine.contender(name, 1.0) for name in "abc"}
    timing.interleaved(contenders, min_runs=20, min_seconds=0.0, warmup=2, clock=machine.clock)
    warmup_and_calibration, calls = machine.calls[:9], machine.calls[9:]
    assert warmup_and_calibration == list("aaabbbccc")
    rounds = ["".join(calls[i : i + 3]) for i in range(0, 60, 3)]
    assert all(sorted(order) == list("abc") for order in rounds)
    assert len(set(rounds)) == 6
    machine.calls.clear()
    timing.interleaved(contenders, min_runs=20, min_seconds=0.0, warmup=2, clock=machine.clock)
    assert machine.calls[9:] == calls


def test_another_clock_can_measure_the_samples() -> None:
    machine, asked = FakeMachine(), []

    def elapsed(call, calls: int) -> float:
        for _ in range(calls):
            call()
        asked.append(calls)
        return 0.25 * calls  # whatever the host's says

    times = timing.interleaved(
        {"a": machine.contender("a", 4.0)},
        min_runs=3,
        min_seconds=0.0,
        warmup=1,
        sample_seconds=1.0,
        clock=machine.clock,
        elapsed=elapsed,
    )
    assert times["a"] == timing.Timing(0.25, 0.25, 0.25, 3)
    assert asked == [1, 4, 4, 4, 4]
    assert len(machine.calls) == 1 + sum(asked)


def test_a_short_call_is_repeated_until_a_sample_lasts_long_enough() -> None:
    machine = FakeMachine()
    step = 2.0**-20  # a power of two, so that sums and quotients are exact
    times = timing.interleaved(
        {"short": machine.contender("short", step)},
        min_runs=3,
        min_seconds=0.0,
        warmup=0,
        sample_seconds=1024 * step,
        clock=machine.clock,
    )
    assert times["short"] == timing.Timing(step, step, step, 3)
    calibration = 1 + 10 + 100 + 1000 + 1024
    assert len(machine.calls) == calibration + 3 * 1024


def test_a_rest_comes_before_every_sample_and_counts_in_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = FakeMachine()

    def sleep(seconds: float) -> None:
        machine.now += seconds
        machine.calls.append("rest")

    monkeypatch.setattr(timing.time, "sleep", sleep)
    times = timing.interleaved(
        {"only": machine.contender("only", 0.5)},
        min_runs=2,
        min_seconds=0.0,
        warmup=0,
        pause=0.25,
        clock=machine.clock,
    )
    assert machine.calls == ["only", "rest", "only", "rest", "only"]
    assert times["only"] == timing.Timing(0.5, 0.5, 0.5, 2)


def test_deciles_and_median_are_those_of_the_samples() -> None:
    machine = FakeMachine()
    calibration, samples = [1.0], [float(k) for k in range(1, 12)]
    times = timing.interleaved(
        {"a": machine.contender("a", *calibration, *samples, 0.0)},
        min_runs=11,
        min_seconds=0.0,
        warmup=0,
        clock=machine.clock,
    )
    assert times["a"] == timing.Timing(median=6.0, p10=2.0, p90=10.0, runs=11)


def test_rounds_go_on_until_min_seconds() -> None:
    machine = FakeMachine()
    contenders = {name: machine.contender(name, 1.0) for name in "ab"}
    times = timing.interleaved(
        contenders, min_runs=1, min_seconds=7.0, warmup=0, clock=machine.clock
    )
    assert times["a"].runs == times["b"].runs == 4  # rounds of 2 s: 4 reach 7 s, 3 do not


def test_rounds_end_after_max_seconds_but_not_before_the_fifth() -> None:
    machine = FakeMachine()
    for seconds, rounds in ((0.0, 5), (7.5, 8), (100.0, 15)):
        times = timing.interleaved(
            {"a": machine.contender("a", 1.0)}, max_seconds=seconds, clock=machine.clock
        )
        assert times["a"].runs == rounds


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_off_meanwhile_and_left_as_it_was(enabled: bool) -> None:
    machine = FakeMachine()
    was_enabled = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        timing.interleaved({"a": machine.contender("a", 1.0)}, min_seconds=0.0, clock=machine.clock)
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()
    assert not any(machine.collecting)


def test_the_collector_comes_back_after_an_error() -> None:
    def fail() -> None:
        msg = "contender failed"
        raise RuntimeError(msg)

    assert gc.isenabled()
    with pytest.raises(RuntimeError, match="contender failed"):
        timing.interleaved({"a": fail})
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_runs": 0}, "min_runs is 0"),
        ({"min_seconds": -1.0}, "min_seconds is -1.0"),
        ({"min_seconds": float("inf")}, "min_seconds is inf"),
        ({"warmup": -1}, "warmup is -1"),
        ({"sample_seconds": float("nan")}, "sample_seconds is nan"),
    ],
)
def test_options_out_of_range_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        timing.interleaved({"a": int}, **options)


def test_no_contender_is_an_error() -> None:
    with pytest.raises(ValueError, match="contenders is empty"):
        timing.interleaved({})


def test_a_real_clock_gives_positive_ordered_numbers() -> None:
    times = timing.interleaved({"a": lambda: sum(range(50))}, min_runs=3, min_seconds=0.0)
    assert 0 < times["a"].p10 <= times["a"].median <= times["a"].p90


def test_machine_facts_are_json_and_name_neither_host_nor_path() -> None:
    facts = timing.machine_facts()
    text = json.dumps(facts)
    assert facts["cores"] >= 1
    assert facts["threads"] >= 1
    assert facts["memory_bytes"] > 2**20
    assert facts["python"] == platform.python_version()
    assert {"numpy", "sparsecore"} <= facts["versions"].keys()
    assert facts["target"] in {"baseline", "avx2", "avx512"}
    assert facts["git_commit"] is None
    assert facts["git_dirty"] is None
    assert str(Path.home()) not in text
    assert socket.gethostname() not in [str(value) for value in facts.values()]


def test_torch_is_reported_only_where_loaded() -> None:
    torch = pytest.importorskip("torch")
    facts = timing.machine_facts()
    assert facts["versions"]["torch"] == str(torch.__version__)
    assert facts["torch_threads"] == torch.get_num_threads()


def test_cpu_fields_come_from_the_first_processor(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(
        "processor\t: 0\nmodel name\t: Example CPU: 3 GHz\nflags\t\t: fma avx2 avx\n\n"
        "processor\t: 1\nmodel name\t: Other\n"
    )
    fields = timing._cpu_info(cpuinfo)
    assert fields["model name"] == "Example CPU: 3 GHz"
    assert timing._cpu_flags(fields) == {"fma", "avx", "avx2"}


def test_an_absent_cpuinfo_gives_no_fields(tmp_path: Path) -> None:
    assert timing._cpu_info(tmp_path / "absent") == {}
    assert timing._cpu_flags({}) == frozenset()


def test_the_commit_of_a_checkout_and_whether_it_was_edited(tmp_path: Path) -> None:
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not installed")

    def run(*arguments: str) -> str:
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        command = [git, "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    run("init", "--quiet")
    (tmp_path / "file").write_text("one")
    run("add", "file")
    run("commit", "--quiet", "--message", "one")
    facts = timing.machine_facts(tmp_path)
    assert facts["git_commit"] == run("rev-parse", "HEAD")
    assert facts["git_dirty"] is False
    (tmp_path / "file").write_text("two")
    assert timing.machine_facts(tmp_path)["git_dirty"] is True


def test_a_folder_outside_git_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    facts = timing.machine_facts(tmp_path)
    assert facts["git_commit"] is None
    assert facts["git_dirty"] is None
