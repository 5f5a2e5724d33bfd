"""Searches for the fastest algorithm of cuSPARSELt, and the file that keeps what they found."""

import json
import subprocess
import sys

import numpy as np
import pytest

import cusparselt_cases as lt
from cusparselt_cases import on_device, sides
from device_cases import back
from oracle import F16
from sparsecore.cuda import search_cache
from sparsecore.cuda.search_cache import Algorithm, SearchKey

KEY = SearchKey("0.8.1", "sm_90", "bfloat16", "bfloat16", "rows", "rows", 32, 16, 64)
FOUND = Algorithm(2, 1, 1, 0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "below" / "cusparselt.json"


@pytest.mark.gpu
def test_a_search_is_made_once(path, cusparselt, gpu):
    fake = lt.fake()
    given = sides(np.random.default_rng(1), F16, (32, 16, 64))
    S, X = cusparselt.compress(on_device(given.W, gpu)), on_device(given.X, gpu)
    searches = fake.calls("cusparseLtMatmulSearch")

    def searched(X, **options):
        found = cusparselt.search(S, X, path=path, **options)
        return found, fake.calls("cusparseLtMatmulSearch") - searches

    assert searched(X) == (FOUND, 1)
    assert searched(X) == (FOUND, 1)
    assert searched(X, again=True) == (FOUND, 2)
    assert searched(X.t().contiguous().t()) == (FOUND, 3)
    assert searched(X[:, :8]) == (FOUND, 4)
    np.testing.assert_array_equal(back(X), given.X)
    content = json.loads(path.read_text())
    assert "0.8.1/sm_90/float16/float16/rows/rows/32/16/64" in content["algorithms"]
    assert len(content["algorithms"]) == 3
    np.testing.assert_array_equal(
        back(cusparselt.matmul(S, X, algorithm=FOUND)), back(cusparselt.matmul(S, X))
    )


@pytest.mark.gpu
def test_an_algorithm_of_another_version(cusparselt, gpu):
    lt.fake()
    S = cusparselt.compress(on_device(np.zeros((32, 64), F16), gpu))
    X = on_device(np.zeros((64, 16), F16), gpu)
    for algorithm, what in (
        (Algorithm(99, 1, 1, 0), "config_id=99"),
        (Algorithm(2, 7, 1, 0), "split_k=7"),
    ):
        with pytest.raises(ValueError, match=f"cuSPARSELt 0.8.1 refuses {what}.*search for one"):
            cusparselt.matmul(S, X, algorithm=algorithm)


# ---- the file ----


def test_what_is_stored_is_found(path):
    assert search_cache.find(KEY, path) is None
    search_cache.store(KEY, FOUND, path)
    other = SearchKey("0.9.0", *KEY.text.split("/")[1:6], 32, 16, 64)
    assert search_cache.find(other, path) is None
    search_cache.store(other, Algorithm(3, -1, 2, 0), path)
    assert search_cache.find(KEY, path) == FOUND
    assert search_cache.find(other, path) == Algorithm(3, -1, 2, 0)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


ENTRY = {"format": 1, "algorithms": {KEY.text: [2, 1, 1, 0]}}
BAD = [None, 3, [1, 2, 3], [1, 2, 3, 4.0], [1, 2, 3, True], [1, 2, 3, 2**31], ["1"] * 4]
BROKEN = [
    "", "{", "[]", "null", "1e999", '"\\ud800"', "[" * 100_000,
    json.dumps(ENTRY)[:-5],
    json.dumps(ENTRY | {"format": 2}),
    json.dumps(ENTRY | {"algorithms": [1]}),
    *(json.dumps(ENTRY | {"algorithms": {KEY.text: bad}}) for bad in BAD),
]  # fmt: skip


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_file_is_replaced(text, path):
    path.parent.mkdir()
    path.write_text(text)
    with pytest.warns(RuntimeWarning, match="is broken, the next algorithms replace it"):
        assert search_cache.find(KEY, path) is None
    with pytest.warns(RuntimeWarning, match="is broken"):
        search_cache.store(KEY, FOUND, path)
    assert search_cache.find(KEY, path) == FOUND


def test_a_file_of_other_bytes_is_replaced(path):
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.warns(RuntimeWarning, match="cannot be read, algorithms are found anew"):
        search_cache.store(KEY, FOUND, path)
    assert search_cache.find(KEY, path) == FOUND


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(RuntimeWarning, match="what was found is not kept"):
        search_cache.store(KEY, FOUND, tmp_path / "file" / "cusparselt.json")
    with pytest.warns(RuntimeWarning, match="cannot be read"):
        assert search_cache.find(KEY, tmp_path) is None


def test_a_reader_sees_a_whole_file(path):
    """While another process stores, what was there is always found."""
    search_cache.store(KEY, FOUND, path)
    code = (
        "import sys; from pathlib import Path; from sparsecore.cuda import search_cache as s;"
        "[s.store(s.SearchKey('v', 'a', 'x', 'y', 'r', 'r', i, 1, 1), s.Algorithm(1, 1, 1, 1),"
        " Path(sys.argv[1])) for i in range(100)]"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)]) as writer:
        reads = 0
        while writer.poll() is None:
            assert search_cache.find(KEY, path) == FOUND
            reads += 1
    assert writer.returncode == 0
    assert reads > 0
    assert len(json.loads(path.read_text())["algorithms"]) == 101


def test_default_path_follows_the_environment(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert str(search_cache.default_path()) == "/somewhere/sparsecore/cusparselt.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(search_cache.default_path()) == "/home/someone/.cache/sparsecore/cusparselt.json"
