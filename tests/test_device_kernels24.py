"""Which kernel multiplies a 2:4 matrix on a device, and the forms that are kept for it."""

import json
from functools import cache

import numpy as np
import pytest

import cases
import oracle
import sparsecore as sc
from device_cases import back, tensor
from oracle import BF16, F16, F32
from sparsecore.cuda import calibration, kernels24
from sparsecore.cuda.costs import Cost
from sparsecore.timing import Timing

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.gpu

MANY = 136


@pytest.fixture(autouse=True)
def _nothing_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calibration.forget()
    kernels24._has_cusparselt.cache_clear()
    yield
    calibration.forget()
    kernels24._has_cusparselt.cache_clear()


@pytest.fixture
def own_only(monkeypatch):
    """Take cuSPARSELt away."""
    monkeypatch.setattr(kernels24, "_has_cusparselt", cache(lambda: False))


@pytest.fixture
def without_wide(monkeypatch):
    """Take `wgmma.sp` away from the device."""
    monkeypatch.setattr(kernels24, "_has_wide", lambda _: False)


def dense_24(shape, dtype, rng=None):
    """Return a matrix with two nonzeros in each four."""
    W = cases.numbers(rng or np.random.default_rng(1), shape, dtype)
    W[:, 0::4] = 0
    W[:, 3::4] = 0
    W[:, 1::4] = np.where(W[:, 1::4] == 0, 1, W[:, 1::4])
    W[:, 2::4] = np.where(W[:, 2::4] == 0, 1, W[:, 2::4])
    return W


def ran(S, X, **options):
    """Return the kernel of a product that is right."""
    Y = sc.sparse24_matmul(S, X, **options)
    W, x = back(S.toarray()).astype(np.float64), back(X)
    oracle.check(back(Y), oracle.product(W, W != 0, x, x.dtype, None), "sparse24_matmul")
    return S._structure.kernel


def matrix_and_columns(gpu, dtype=BF16, shape=(32, 64), n=MANY):
    W = dense_24(shape, dtype)
    X = cases.numbers(np.random.default_rng(2), (shape[1], n), dtype)
    return sc.Sparse24.from_dense(tensor(W, gpu)), tensor(X, gpu)


@pytest.mark.usefixtures("own_only")
def test_shapes_and_dtypes_choose_where_nothing_was_measured(gpu):
    S, X = matrix_and_columns(gpu)
    assert S._structure.kernel == ""
    many = "wgmma.sp" if kernels24._has_wide(gpu) else "rows"
    assert [ran(S, x) for x in (X, X[:, :128], X[:, :9])] == [many, "mma.sp", "mma.sp"]
    narrow, wide = matrix_and_columns(gpu, shape=(32, 60))
    assert [ran(narrow, wide), ran(narrow, wide[:, :9])] == [many, many]
    assert ran(*matrix_and_columns(gpu, F32)) == "rows"


@pytest.mark.usefixtures("own_only", "without_wide")
def test_without_another_kernel_the_canonical_layout_serves_all(gpu):
    S, X = matrix_and_columns(gpu)
    assert ran(S, X) == "mma.sp"
    assert ran(*matrix_and_columns(gpu, shape=(32, 60))) == "rows"
    assert S._structure.kept == {}


@pytest.mark.usefixtures("without_wide")
def test_cusparselt_takes_what_it_computes_alike(cusparselt, gpu):
    del cusparselt
    S, X = matrix_and_columns(gpu, F16)
    assert ran(S, X).startswith("cusparselt 0.")
    assert ran(S, X.t().contiguous().t()).startswith("cusparselt 0.")
    bias = torch.ones(32, dtype=torch.float16, device=gpu)
    y = sc.linear(X.t(), S, bias)
    assert S._structure.kernel.startswith("cusparselt 0.")
    assert torch.allclose(y, sc.linear(X.t(), S) + bias, rtol=1e-2, atol=1e-2)
    for options in ({"activation": "relu"}, {"residual": torch.zeros_like(y)}):
        sc.linear(X.t(), S, bias, **options)
        assert S._structure.kernel == "mma.sp"
    assert ran(S, X[:, : MANY - 1]) == "mma.sp"
    with_zero = S.with_data(S.values.clone())
    with_zero.values[3, 5] = 0
    assert ran(with_zero, X) == "mma.sp"
    trained = S.with_data(S.values.clone().requires_grad_())
    assert ran(trained, X) == "mma.sp"


@pytest.mark.usefixtures("without_wide")
def test_a_library_that_fails_is_told_of_once(cusparselt, gpu, monkeypatch):
    S, X = matrix_and_columns(gpu, F16)

    def failing(*_, **__):
        msg = "cuSPARSELt 0.8.1: out of order"
        raise RuntimeError(msg)

    monkeypatch.setattr(cusparselt, "matmul", failing)
    with pytest.warns(RuntimeWarning, match="without cuSPARSELt from now on: .*out of order"):
        assert ran(S, X) == "mma.sp"
    assert ran(S, X) == "mma.sp"


@pytest.mark.usefixtures("own_only")
def test_a_form_is_kept_until_values_change(gpu, monkeypatch):
    S, X = matrix_and_columns(gpu)
    made = []
    pack = kernels24._as_wide
    monkeypatch.setattr(kernels24, "_as_wide", lambda *given: made.append(1) or pack(*given))
    if not kernels24._has_wide(gpu):
        pytest.skip("this device has no kernel of wgmma.sp")
    assert ran(S, X) == ran(S, X) == "wgmma.sp"
    assert len(made) == 1
    S.values.mul_(2)
    ran(S, X)
    assert len(made) == 2
    S.values.data = S.values.data * 1  # other memory, the same version
    ran(S, X)
    made.pop()
    other = S.with_data(S.values * 3)  # of the same structure
    ran(other, X)
    ran(S, X)
    assert len(made) == 4
    with torch.inference_mode():
        unversioned = S.with_data(S.values * 1)
        ran(unversioned, X)
        ran(unversioned, X)
    assert len(made) == 6


@pytest.mark.usefixtures("own_only")
def test_bad_operands_are_refused_by_every_kernel_alike(gpu):
    S, X = matrix_and_columns(gpu)
    with pytest.raises(ValueError, match="sparse24_matmul: X has 63 rows, A has 64 columns"):
        sc.sparse24_matmul(S, X[:63])
    with pytest.raises(ValueError, match="sparse24_matmul: out is float32, the result is bfloat16"):
        sc.sparse24_matmul(S, X, out=torch.zeros(32, MANY, device=gpu))


# ---- what was measured ----


def made_of(costs):
    """Return a timer that says what calls would take, of `kernels24.run_by`, if costs were so."""

    def timer(contenders):
        found = {}
        for name, contender in contenders.items():
            kernel, call = contender.args
            contender()
            n = call.X.shape[1]
            seconds = costs[kernel].seconds(kernels24.work(call.structure.shape, n, 2))
            found[name] = Timing(seconds, seconds, seconds, 1)
        return found

    return timer


@pytest.mark.usefixtures("own_only")
def test_what_is_measured_decides(gpu, tmp_path):
    if not kernels24._has_wide(gpu):
        pytest.skip("this device has no kernel of wgmma.sp")
    S, X = matrix_and_columns(gpu)
    costs = {"canonical": Cost(1e-3, 1e12, 1e10), "wide": Cost(1.5e-3, 1e12, 1e13)}
    for _ in range(2):
        found = sc.cuda.calibrate(gpu, timer=made_of(costs), largest=256)
    assert {name for name, _ in found} == {"float16", "bfloat16"}
    for (_, kernel), cost in found.items():
        assert cost.overhead == pytest.approx(costs[kernel].overhead, rel=0.2)
    assert ran(S, X) == "mma.sp"  # 1.1 ms, 1.5 ms by the other
    large, columns = matrix_and_columns(gpu, shape=(256, 256), n=128)
    assert ran(large, columns) == "wgmma.sp"  # 1.8 ms by the first
    entries = json.loads((tmp_path / "sparsecore" / "costs24.json").read_text())["costs"]
    assert [name.rpartition("/")[2] for name in entries] == ["canonical", "wide"] * 2


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1, "costs": {"a/b": [1, 2]}}',
                                  '{"format": 1, "costs": {"a/b": [1, 0, 1]}}'])  # fmt: skip
def test_a_broken_file_of_costs_is_no_file(text, gpu, tmp_path):
    path = tmp_path / "sparsecore" / "costs24.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.warns(RuntimeWarning, match="is broken, the next costs replace it"):
        assert calibration.known_costs(gpu, torch.float16) == {}
