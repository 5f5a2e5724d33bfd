"""README: honest limits."""

from claims.claim import Claim
from claims.results import best, fixed, geometric_mean, part, ratio, row, rows, to

__all__ = ["CLAIMS"]

_README = "README.md"
_SPMM, _SPMV, _THREADS = "spmm-epyc-1-thread", "spmv-epyc-1-thread", "threads-epyc-2-threads"


def _making_plans(columns: int) -> list[float]:
    """Return how many of its products making a plan takes, in each row of so many columns."""
    name = _SPMV if columns == 1 else _SPMM
    return [
        found["contenders"]["sparsecore plan, first call"]["median"]
        / found["contenders"]["sparsecore plan"]["median"]
        - 1
        for found in rows(name, N=columns)
    ]


def _plans() -> list[str]:
    one = _making_plans(1)
    return [
        fixed(min(_making_plans(512)), 2),
        "512",
        fixed(max(_making_plans(8)), 0),
        "8",
        f"{min(one):.1g}".replace("e+01", "0"),
        f"{round(max(one), -1):.0f}",
    ]


def _gradients() -> list[str]:
    found = best("train-epyc-1-thread", "sparsecore", "baseline", gradient="dW")
    half, tenth = (part(found, sparsity=sparsity)["geometric_mean"] for sparsity in (50.0, 90.0))
    return ["50", fixed(half, 1), fixed(tenth, 0), "90"]


def _transposed() -> list[str]:
    """Return the speed of A.T @ X with 32 columns, as a share of its plan's."""
    measured = rows("train-epyc-1-thread", gradient="dX", N=32)
    shares = [ratio(found, "sparsecore", ("sparsecore plan",)) for found in measured]
    return ["32", fixed(geometric_mean(shares), 1)]


def _sparse24() -> list[str]:
    found = best("24-epyc-1-thread", "sparsecore", "baseline")
    columns = (1, 8, 32, 128, 512)
    means = [fixed(part(found, N=N)["geometric_mean"], 1) for N in columns]
    return [*means, *map(str, columns)]


def _second_thread() -> list[str]:
    """Return what a second thread gives, by what the product takes on one."""
    found = [
        (one, one / found["contenders"][ours]["median"], found)
        for found in rows(_THREADS)
        for ours in ("sparsecore", "sparsecore plan")
        for one in (found["contenders"][f"{ours}, 1 thread"]["median"],)
    ]
    assert max(times for one, times, _ in found if one < 10e-6) < 1.25
    long = [(times, row) for one, times, row in found if one > 30e-6]
    nothing = [(times, row) for times, row in long if times < 1.1]
    assert {(row["M"], row["sparsity"], row["N"]) for _, row in nothing} == {(256, 50, 128)}
    well = [times for times, _ in long if times > 1.795]
    less = [times for times, _ in long if 1.1 < times < 1.795]
    return ["10", str(len(long)), "30", str(len(well)), *to(well, 1), str(len(less)), *to(less, 1)]


def _small_calls() -> list[str]:
    """Return what a layer takes, and a dense one, on 16 x 16."""
    found = row("calls-epyc-1-thread", call="layer, 2-D", gradient="none")
    ours, dense = (found["contenders"][name]["median"] for name in ("sparsecore", "torch dense"))
    return [fixed(1e6 * ours, 1), fixed(1e6 * dense, 1)]


CLAIMS = (
    Claim(
        _README,
        (_SPMM, _SPMV),
        "Making one takes as long as {} ({} columns) to {} ({} columns) of its products, but {} to "
        "{} with one column",
        _plans,
    ),
    Claim(
        _README,
        ("train-epyc-1-thread",),
        "`A.T @ X` scatters below 128 columns, with {} at {} of the speed, in the mean",
        _transposed,
    ),
    Claim(
        _README,
        ("train-epyc-1-thread",),
        "as fast as a dense one's at {} % ({} in the mean) and {} times as fast at {} %",
        _gradients,
    ),
    Claim(
        _README,
        ("24-epyc-1-thread",),
        "2:4 on a CPU is {}, {}, {}, {} and {} times as fast as the best dense product for {}, {}, "
        "{}, {} and {} columns, in the mean of five shapes",
        _sparse24,
    ),
    Claim(
        _README,
        ("calls-epyc-1-thread",),
        "A converted layer costs more Python a call than `nn.Linear`: {} us against {} for 16 x 16",
        _small_calls,
    ),
    Claim(
        _README,
        (_THREADS,),
        "less than {} us. Of {} that take {} us and more on one thread, {} run {} to {} times as "
        "fast on two, {} run {} to {} times as fast, and 256 x 256 at 50 % with 128 columns gains "
        "nothing, with a plan or without",
        _second_thread,
    ),
)
