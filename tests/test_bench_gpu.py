"""What the benchmarks of a device compare: every contender's result, checked as before timing."""

import dataclasses
import json
import shutil
import subprocess
import sys
from functools import partial

import pytest

from sparsecore.bench.arguments import parse
from sparsecore.bench.comparison import Contender, WrongResult, verify

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta"),
]

TINY = ["--shape", "32x48", "--sparsities", "70", "--columns", "1", "9", "--triplets", "300"]


def tables(gpu, *words):
    from sparsecore.bench.gpu.building import building
    from sparsecore.bench.gpu.products import products

    options = parse(["gpu", *TINY, *words])
    return [list(make(options, gpu).cases) for make in (products, building)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_contender_of_a_product_is_right(dtype, gpu):
    cases, _ = tables(gpu, "--dtype", dtype)
    assert [case.labels["N"] for case in cases] == [1, 9]
    for case in cases:
        assert max(verify(case).values()) <= 1
        assert list(case.contenders)[:2] == ["sparsecore", "sparsecore plan"]
        by_kernel = {"sparsecore rows", "sparsecore merge"} & set(case.contenders)
        assert len(by_kernel) == (2 if case.labels["N"] == 1 else 0)
        assert "cublas dense" in case.contenders
        others = set(case.contenders) | set(case.absent)
        assert {"torch csr", *(f"cusparse alg{i}" for i in (1, 2, 3)), "sputnik", "cupy"} <= others


_SPUTNIK = """
struct CUstream_st;
namespace sputnik {
int CudaSpmm(int m, int k, int n, int nonzeros, const int* row_indices, const float* values,
             const int* row_offsets, const int* column_indices, const float* dense, float* out,
             CUstream_st*) {
  if (row_offsets[m] != nonzeros || k < 0) return 1;
  for (int i = 0; i < m; ++i) {
    const int r = row_indices[i];
    if (i > 0) {
      const int before = row_indices[i - 1];
      if (row_offsets[before + 1] - row_offsets[before] < row_offsets[r + 1] - row_offsets[r])
        return 2;
    }
    for (int c = 0; c < n; ++c) {
      float sum = 0;
      for (int p = row_offsets[r]; p < row_offsets[r + 1]; ++p)
        sum += values[p] * dense[column_indices[p] * n + c];
      out[r * n + c] = sum;
    }
  }
  return 0;
}
}
"""


def tables_24(gpu, dtype, shape):
    """Return the tables of ``gpu-24``, of one small shape."""
    from sparsecore.bench.gpu.products24 import compression24, products24

    options = parse(["gpu-24", "--shape", shape, "--columns", "5", "136", "--dtype", dtype])
    return [list(make(options, gpu).cases) for make in (products24, compression24)]


@pytest.mark.parametrize(("dtype", "shape"), [("float16", "48x64"), ("int8", "48x128")])
def test_every_contender_of_a_24_product_is_right(dtype, shape, gpu):
    products, (made,) = tables_24(gpu, dtype, shape)
    for case in products:
        assert max(verify(case).values()) <= 1
        assert next(iter(case.contenders)) == "sparsecore"
        others = set(case.contenders) | set(case.absent)
        assert {"sparsecore canonical", "sparsecore wide", "cusparselt", "torch cutlass"} <= others
        assert "cublas dense" in case.contenders
    assert max(verify(made).values()) == 0


# ---- what they hold ----


def test_bytes_of_the_weights_that_contenders_hold(cusparselt, gpu):
    """Of 64 x 128: half of the values, a nibble a group, and 9/8 of a byte a position packed."""
    del cusparselt
    few, many = tables_24(gpu, "bfloat16", "64x128")[0]
    canonical = {"values": 64 * 64 * 2, "metadata": 64 * 128 // 8}
    wide = canonical | {"packed": 64 * 128 * 9 // 8}
    for case, chosen in ((few, canonical), (many, wide)):
        verify(case)
        held = {name: found.held() for name, found in case.contenders.items()}
        assert held["cublas dense"] == {"dense": 64 * 128 * 2}
        assert held["sparsecore canonical"] == canonical
        if "sparsecore wide" in held:
            assert (held["sparsecore"], held["sparsecore wide"]) == (chosen, wide)
    assert "cusparselt" in few.absent  # X of 5 columns
    assert held["cusparselt"] == held["cusparselt searched"]
    assert 64 * 128 * 9 // 8 <= held["cusparselt"]["compressed"] < 64 * 128 * 2


def test_bytes_of_torchs_own_24():
    from sparsecore.bench.gpu import memory

    parts = {
        "packed": torch.zeros(4, 8).half(),
        "meta": torch.zeros(4, 2).short(),
        "packed_t": None,
    }
    assert memory.of_torchs(type("Stored", (), parts)()) == {"packed": 64, "meta": 16}


def test_the_workspace_of_a_call_is_what_it_gives_back(monkeypatch):
    from sparsecore.bench.gpu import memory

    held = {"now": 100, "peak": 100}

    def take(size):
        held["now"] += size
        held["peak"] = max(held["peak"], held["now"])

    def call():
        take(70)
        take(-30)  # the result stays

    answers = {
        "synchronize": lambda: None,
        "memory_allocated": lambda: held["now"],
        "max_memory_allocated": lambda: held["peak"],
        "reset_peak_memory_stats": lambda: held.update(peak=held["now"]),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(memory.torch.cuda, name, answer)
    assert memory.workspace(call) == 30
    assert memory.workspace(lambda: take(-20)) == 0  # frees what an earlier one left


def test_the_table_of_bytes():
    from sparsecore.bench.gpu import memory

    held = {
        "sparsecore": {"bytes": {"values": 4_000_000, "metadata": 500_000, "workspace": 0}},
        "cusparselt": {"bytes": {"compressed": 5_000_000, "workspace": 2_000_000}},
        "torch": {"median": 1.0},
        "cublas dense": {"bytes": {"dense": 8_000_000, "workspace": 0}},
    }
    rows = [{"M": 4, "N": 1, "contenders": held}, {"M": 4, "N": 2, "contenders": dict(held)}]
    del rows[1]["contenders"]["cusparselt"]
    _, _, *table = memory.lines(rows, {"M": 4})
    assert table == [
        "| N | sparsecore | cusparselt | cublas dense |",
        "| --- | --- | --- | --- |",
        "| 1 | 4.5 (0.56) | 5 (0.62), 2 besides | 8 (1.00) |",
        "| 2 | 4.5 (0.56) |  | 8 (1.00) |",
    ]
    assert list(memory.lines([{"M": 4, "contenders": {"torch": {"median": 1.0}}}], {})) == []


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler is on PATH")
def test_sputnik_is_called_as_it_is_declared(gpu, tmp_path, monkeypatch):
    """A library with its function, which reads host memory: by an emulated device only."""
    if gpu.type != "cpu":
        pytest.skip("the library of this test reads the host's memory")
    source, library = tmp_path / "sputnik.cpp", tmp_path / "libsputnik.so"
    source.write_text(_SPUTNIK)
    subprocess.run(["c++", "-shared", "-fPIC", "-o", library, source], check=True)
    monkeypatch.setenv("SPARSECORE_SPUTNIK", str(library))
    cases, _ = tables(gpu, "--dtype", "float32")
    for case in cases:
        assert verify(case)["sputnik"] <= 1


def test_every_construction_is_right(gpu):
    _, cases = tables(gpu)
    kinds = [case.labels["build"] for case in cases]
    assert kinds == ["triplets to CSR", "dense to CSR", "arrays to the transpose", "4096 rows"]
    for case in cases:
        assert max(verify(case).values()) == 0


def test_a_wrong_result_is_found(gpu):
    (case, *_), (made, *_) = tables(gpu)
    product, matrix = (found.contenders["sparsecore"].call() for found in (case, made))
    for found, wrong in ((case, 2 * product), (made, matrix.with_data(2 * matrix.data))):
        off = dataclasses.replace(found.contenders["sparsecore"], call=partial(lambda y: y, wrong))
        with pytest.raises(WrongResult, match="sparsecore is off by"):
            verify(dataclasses.replace(found, contenders={"sparsecore": off}))


def test_without_a_device_it_says_why(monkeypatch):
    from sparsecore.bench.gpu import run

    monkeypatch.setattr(run.sc.cuda, "is_available", lambda: False)
    monkeypatch.setattr(run.sc.cuda, "reason", lambda: "no device")
    with pytest.raises(RuntimeError, match="gpu: no device"):
        run.measure(parse(["gpu", "--quick"]))


def test_one_part_that_fails_leaves_the_other(monkeypatch, tmp_path):
    from sparsecore.bench import run as bench_run
    from sparsecore.bench.gpu import run

    def part(compared, *_):
        if compared.name == "gpu building":
            msg = "torch is off"
            raise RuntimeError(msg)
        return {"title": "products"}

    for name, answer in (("measure_device_floor", {}), ("device_facts", {}), ("_markdown", "text")):
        monkeypatch.setattr(run, name, lambda *_, found=answer: found)
    monkeypatch.setattr(run, "_part", part)
    monkeypatch.setattr(run.sc.cuda, "is_available", lambda: True)
    output = tmp_path / "gpu.json"
    with pytest.raises(WrongResult, match="gpu building: torch is off"):
        bench_run.run(parse(["gpu", "--quick", "--output", str(output)]), pinned=False)
    document = json.loads(output.read_text())
    assert (document["parts"], document["failed"]) == (
        [{"title": "products"}],
        ["gpu building: torch is off"],
    )


def test_contenders_that_fail_are_absent(gpu, monkeypatch):
    from sparsecore.bench.gpu import products

    def fails(_):
        msg = "no graph\nof this"
        raise RuntimeError(msg)

    monkeypatch.setattr(products, "captured", fails)
    x = type("OnDevice", (), {"shape": (3, 1), "is_cuda": True})()
    offer = products._with_graph("ours", {"ours": Contender(lambda: None)}, x)
    assert str(offer["ours, graph"]) == "no graph"
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(products.importlib.util, "find_spec", lambda _: True)
    offer = products._cupy((), (2, 2), torch.ones(2, 2, device=gpu))
    assert "cupy" in str(offer["cupy"])
