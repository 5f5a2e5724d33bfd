"""smtx: patterns without values, read exactly or refused with the place."""

from pathlib import Path

import numpy as np
import pytest

import sparsecore as sc
from format_cases import LECTURE, lecture


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "4, 4, 6\n0 2 3 5 6\n1 3 2 0 1 3 \n",
        "4,4,6\r\n0 2 3 5 6\r\n1 3 2 0 1 3\r\n",
        "4, 4, 6\n0 2 3 5 6 \n3 1\t2 1 0 3",
    ],
    ids=["as published", "carriage returns", "unsorted"],
)
def test_a_pattern_of_ones(tmp_path, content):
    A = sc.load(written(tmp_path / "A.smtx", content))
    assert A.dtype == np.float32
    np.testing.assert_array_equal(A.toarray(), LECTURE != 0)


@pytest.mark.parametrize(
    ("content", "shape"),
    [("0, 3, 0\n0\n\n", (0, 3)), ("2, 0, 0\n0 0 0\n", (2, 0)), ("2, 3, 0\n0 0 0", (2, 3))],
)
def test_empty(tmp_path, content, shape):
    A = sc.load(written(tmp_path / "A.smtx", content), framework="numpy")
    assert (A.shape, A.nnz) == (shape, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "truncated"),
        ("4, 4, 6\n", "row offsets in line 2 are 0, expected 5"),
        ("4, 4, 6\n0 2 3 5", "row offsets in line 2 are 4, expected 5"),
        ("4, 4, 6\n0 2 3 5 6\n1 3 2 0 1", "columns in line 3 are 5, expected 6"),
        ("4, 4\n0 2 3 5 6\n1 3 2 0 1 3", "line 1"),
        ("4 4 6\n0 2 3 5 6\n1 3 2 0 1 3", "line 1"),
        ("4, -4, 6\n0 2 3 5 6\n1 3 2 0 1 3", "line 1"),
        ("4, 4, 6\n0 2 3 x 6\n1 3 2 0 1 3", r"b'x' at byte 14"),
        ("4, 4, 6\n0 2 3 5 6\n1 3 2 0 -1 3", r"b'-' at byte 26"),
        ("4, 4, 6\n0 2 3 5 6\n1 3 2 0 1 4", "index 4 at number 5 of line 3"),
        ("4, 4, 6\n0 2 3 5 6\n1 3 2 0 1 99999999999999999999", "number 5 of line 3"),
        ("4, 4, 6\n0 2 3 2 6\n1 3 2 0 1 3", "row 2"),
        ("4, 4, 6\n0 2 3 5 5\n1 3 2 0 1 3", "row 3"),
        ("4, 4, 6\n0 2 3 5 6\n1 1 2 0 1 3", "row 0"),
        ("4, 4, 6\n0 2 3 5 6\n1 3 2 0 1 3\n1 2\n", "fourth line at byte 30"),
        ("4, 4, 999999999999\n0 2 3 5 6\n1 3 2 0 1 3", "expected 999999999999"),
        ("999999999999, 4, 6\n0 2 3 5 6\n1 3 2 0 1 3", "expected 1000000000000"),
        (b"\xff\xfe\x00", "line 1|truncated"),
    ],
)
def test_bad_files(tmp_path, content, message):
    path = written(tmp_path / "A.smtx", content)
    with pytest.raises(ValueError, match=rf"(?s)A\.smtx: .*({message})"):
        sc.load(path)


def test_real_patterns(dlmc_patterns):
    for path in dlmc_patterns:
        A = sc.load(path)
        sizes, offsets, columns = path.read_text().splitlines()
        assert [*A.shape, A.nnz] == [int(size) for size in sizes.split(",")]
        assert A.indptr.tolist() == [int(offset) for offset in offsets.split()]
        for row, (begin, end) in enumerate(zip(A.indptr[:-1], A.indptr[1:], strict=True)):
            published = [int(column) for column in columns.split()[begin:end]]
            assert A.row(row)[0].tolist() == sorted(published)


def test_it_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="smtx"):
        sc.save(tmp_path / "A.smtx", lecture())
