"""What every product must do, whichever kernel runs it; the kernels' test files call this."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

import cases
import oracle
from cases import FLOAT_MIXES, MIXES, SAME, Make, Mix, Operand
from oracle import DTYPES, F16, F32, I8, I32, Array, DType

# (rows, inner, columns, density). Sides run from 0 over 1 and the vector widths of every target
# (2 to 16) and the 16 rows of a written block, one less and one more, to 2 * 16 + 1.
SHAPES = (
    (0, 0, 0, 0.5),
    (0, 5, 3, 0.5),
    (5, 0, 3, 0.5),
    (4, 6, 0, 0.5),
    (3, 4, 2, 0.0),
    (1, 1, 1, 1.0),
    (1, 1, 33, 1.0),
    (33, 1, 1, 0.5),
    (1, 33, 1, 0.5),
    (2, 2, 2, 0.5),
    (3, 5, 4, 0.5),
    (7, 3, 5, 1.0),
    (8, 9, 7, 0.2),
    (9, 8, 8, 0.5),
    (15, 16, 9, 0.5),
    (16, 17, 15, 0.3),
    (17, 15, 16, 0.3),
    (31, 32, 17, 0.1),
    (32, 33, 31, 0.1),
    (33, 31, 32, 0.5),
    (5, 64, 33, 0.9),
    (4, 30, 65, 0.5),
    (3, 40, 129, 0.5),
    (2, 20, 257, 0.5),
)


def dense_cases(rng: np.random.Generator, dtype: DType) -> Iterable[tuple[str, Array, int]]:
    """Yield (name, W, n): random matrices, then empty rows around one dense row."""
    for m, k, n, density in SHAPES:
        yield f"{m}x{k}x{n}", cases.random_dense(rng, (m, k), density, dtype), n
    W = np.zeros((35, 70), dtype)
    W[17] = cases.numbers(rng, 70, dtype)
    for n in (1, 5, 16):
        yield f"one dense row, n={n}", W, n
        yield f"one dense column, n={n}", np.ascontiguousarray(W.T), n


def check_product(operand: Operand, X: Array, mix: Mix, rng: np.random.Generator, case: str) -> Any:
    """Multiply, compare with the oracle, and return the result."""
    scale = cases.factors(rng, len(operand.W), F32) if mix.scaled else None
    dtype = oracle.result_dtype(mix.values, mix.x)
    got = cases.multiply(operand.matrix, X, scale=scale)
    oracle.check(got, oracle.product(operand.W, operand.stored, X, dtype, scale), case)
    return got


def check_shapes_and_layouts(make: Make, mix: Mix) -> None:
    """Compare every shape in every memory order of X, and 1-D right sides, with the oracle."""
    rng = np.random.default_rng(1)
    for name, W, n in dense_cases(rng, mix.values):
        operand = make(W)
        X = cases.numbers(rng, (W.shape[1], n), mix.x)
        for layout in cases.LAYOUTS:
            case = f"{name}, {layout}"
            Y = check_product(operand, cases.laid_out(X, layout), mix, rng, case)
            if layout == "F" and min(*X.shape, *Y.shape) > 1:
                assert Y.flags.f_contiguous, f"{case}: a column-major X gives a column-major Y"
            if n > 0:
                x = cases.laid_out(np.ascontiguousarray(X[:, 0]), layout)
                check_product(operand, x, mix, rng, f"{case}, 1-D")


def check_every_width(make: Make, dtype: DType) -> None:
    """Compare every number of columns up to past the widest tile of 8 vectors of 16 lanes."""
    rng = np.random.default_rng(2)
    operand = make(cases.random_dense(rng, (18, 23), 0.3, dtype))
    wide = cases.numbers(rng, (23, 274), dtype)
    for n in (*range(1, 131), 255, 256, 257, 273):
        for layout in ("C", "F"):
            X = cases.laid_out(wide[:, :n], layout)
            check_product(operand, X, Mix(dtype, dtype), rng, f"n={n}, {layout}")


def check_long_rows(make: Make, mix: Mix) -> None:
    """Compare rows around the 512 entries that are decoded at a time, short ones between them."""
    rng = np.random.default_rng(3)
    lengths = (3, 511, 0, 512, 513, 1, 1023, 1024, 1025, 1500, 2)
    W = np.zeros((len(lengths), 1600), mix.values)
    for row, length in enumerate(lengths):
        columns = rng.choice(1600, length, replace=False)
        W[row, columns] = cases.numbers(rng, length, mix.values)
    for name, matrix in (("long rows", W), ("long columns", np.ascontiguousarray(W.T))):
        operand = make(matrix)
        for n in (1, 3, 17):
            X = cases.numbers(rng, (matrix.shape[1], n), mix.x)
            check_product(operand, X, mix, rng, f"{name}, n={n}")


def check_last_columns(make: Make, dtype: DType) -> None:
    """Compare matrices, and their transposes, whose last columns end each index width."""
    rng = np.random.default_rng(5)
    for k in (255, 256, 257, 65535, 65536, 65537):
        W = np.zeros((3, k), dtype)
        W[::2, [0, 100, k - 2, k - 1]] = cases.numbers(rng, (2, 4), dtype)
        for matrix in (W, np.ascontiguousarray(W.T)):
            operand = make(matrix)
            for n in (1, 3, 17):
                X = cases.numbers(rng, (matrix.shape[1], n), dtype)
                case = f"{matrix.shape[0]}x{matrix.shape[1]}, n={n}"
                Y = check_product(operand, X, Mix(dtype, dtype), rng, case)
                assert not Y[~operand.stored.any(axis=1)].any(), case


# ---- NaN and infinities ----

# One number per class of right side on every target: a single column, a masked vector, a whole
# one, some vectors and a rest, the widest tile of 16 lanes, and past it.
WIDTHS = (1, 2, 7, 16, 33, 128, 131)


def poisoned(operand: Operand, row: int, poison: float, clean: Array) -> Array:
    """Return the float64 result where row `row` of X is `poison` instead of finite."""
    touched = operand.stored[:, row]
    with np.errstate(invalid="ignore"):
        value = operand.W[:, row] * poison
    wanted = clean.astype(np.float64)
    wanted[touched] = value[touched].reshape(-1, *[1] * (clean.ndim - 1))
    return wanted


def check_poison(make: Make, mix: Mix) -> None:
    """Put NaN and infinities in each row of X: they reach the rows with that entry, no other."""
    rng = np.random.default_rng(4)
    operand = make(cases.random_dense(rng, (19, 22), 0.3, mix.values))
    for n in WIDTHS:
        check_poison_in(range(22), operand, n, mix, rng)
    # Right sides are converted 64 rows at a time, and entries decoded 512 at a time.
    operand = make(cases.random_dense(rng, (9, 600), 0.9, mix.values))
    for n in (1, 17):
        rows = (0, 63, 64, 65, 127, 128, 511, 512, 513, 599)
        check_poison_in(rows, operand, n, mix, rng)


def check_poison_in(
    rows: Iterable[int], operand: Operand, n: int, mix: Mix, rng: np.random.Generator
) -> None:
    """Put NaN and infinity in some rows of X, one after the other, in both memory orders."""
    m, k = operand.W.shape
    # Positive factors, so that the sign of an infinity stays.
    options = {"scale": np.full(m, 0.25, np.float32)} if mix.scaled else {}
    finite = cases.numbers(rng, (k, n), mix.x)
    for layout in ("C", "F"):
        clean = cases.multiply(operand.matrix, cases.laid_out(finite, layout), **options)
        for row in rows:
            for poison in (np.nan, np.inf):
                X = finite.copy()
                X[row] = poison
                got = cases.multiply(operand.matrix, cases.laid_out(X, layout), **options)
                wanted = poisoned(operand, row, poison, clean)
                same = np.array_equal(got.astype(np.float64), wanted, equal_nan=True)
                assert same, f"{m}x{k}, n={n}, {layout}, row {row} = {poison}"


# ---- int8 ----


def check_int8_limit(make: Make, *, entries_per_group: int = 1, group: int = 1) -> None:
    """Sum -128 * -128 up to int32's last value, past it with an error, and past it and back."""
    most = 131071  # (2**31 - 1) // (128 * 128)
    for n in (1, 3):
        for entries in (most, most + 2, most + 30):
            k = entries // entries_per_group * group + entries % entries_per_group
            operand = make(np.full((1, k), -128, I8))
            assert operand.stored.sum() == entries
            X = np.full((k, n), -128, I8)
            if entries == most + 2:
                with pytest.raises(OverflowError, match="int32"):
                    cases.multiply(operand.matrix, X)
                continue
            if entries == most + 30:
                X[-20 * group // entries_per_group :] = 127
            got = cases.multiply(operand.matrix, X)
            oracle.check(got, oracle.product(operand.W, operand.stored, X, I32), f"{entries}, {n}")


# ---- every check of a CSR kernel ----


def _each(check: Callable[..., None], kinds: Iterable[Any]) -> list[Any]:
    name = check.__name__.removeprefix("check_")
    return [pytest.param(check, (kind,), id=f"{name}-{kind}") for kind in kinds]


# Parametrises a test that calls ``check(make, *arguments)`` with the Make of its kernel.
CSR_CHECKS = pytest.mark.parametrize(
    ("check", "arguments"),
    [
        *_each(check_shapes_and_layouts, MIXES),
        *_each(check_every_width, DTYPES),
        *_each(check_long_rows, [*SAME, Mix(F16, F32), Mix(I8, F32, scaled=True)]),
        *_each(check_last_columns, DTYPES),
        *_each(check_poison, FLOAT_MIXES),
        pytest.param(check_int8_limit, (), id="int8_limit"),
    ],
)
