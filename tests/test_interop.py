"""numpy and torch side by side: no copies, no import of torch, the same numbers."""

import ast
import subprocess
import sys
from pathlib import Path

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from sparsecore import interop
from sparsecore.interop import VALUE_DTYPES

NAMES = list(VALUE_DTYPES)


def test_torch_is_not_imported_by_using_numpy():
    program = (
        "import sys, numpy as np, sparsecore as sc\n"
        "A = sc.CSR.from_dense(np.eye(3))\n"
        "A @ np.ones(3), A.T.tocsr(), A.tocoo().sum_duplicates(), A.astype('bfloat16').equals(A)\n"
        "sc.Sparse24.from_dense(np.eye(3)).toarray()\n"
        "assert 'torch' not in sys.modules and 'scipy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_one_function_imports_torch_where_numpy_alone_works():
    root = Path(interop.__file__).parent
    files = [root / name for name in ("interop.py", "ops.py", "plan.py", "dense.py", "io.py")]
    files += [*root.glob("formats/*.py"), *root.glob("files/*.py")]
    importing = [
        (path.name, getattr(scope, "name", "module"))
        for path in files
        for scope in ast.walk(ast.parse(path.read_text()))
        for node in ast.iter_child_nodes(scope)
        if isinstance(node, ast.Import) and any(name.name == "torch" for name in node.names)
    ]
    assert importing == [("interop.py", "import_torch")]


# ---- views ----


@pytest.mark.parametrize("name", NAMES)
def test_tensor_to_numpy_and_back_shares_memory(name):
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6).to(getattr(torch, name)).reshape(2, 3)
    array = interop.to_numpy(tensor, name="X")
    assert array.dtype == VALUE_DTYPES[name]
    array[0, 1] = 5
    assert tensor[0, 1] == 5
    back = interop.from_numpy(array, like=tensor)
    assert back.dtype == tensor.dtype
    assert back.data_ptr() == tensor.data_ptr()
    turned = interop.to_numpy(tensor.T[:, ::2], name="X")
    assert np.shares_memory(turned, array)
    np.testing.assert_array_equal(turned, array.T[:, ::2])


def test_graphs_are_left_behind():
    torch = pytest.importorskip("torch")
    parameter = torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    array = interop.to_numpy(parameter, name="X")
    array[0] = 2
    assert parameter.tolist() == [2, 1]


def test_numpy_passes_through():
    array = np.ones(3)
    assert interop.to_numpy(array, name="X") is array
    assert interop.from_numpy(array, like=array) is array


def test_read_only_and_backward_arrays_become_tensors_by_copying():
    torch = pytest.importorskip("torch")
    frozen = np.arange(3.0)
    frozen.flags.writeable = False
    for array in (frozen, np.arange(3.0)[::-1], np.ones((0, 3)), np.ones((2, 2))[::-1]):
        tensor = interop.from_numpy(array, like=torch.ones(1))
        np.testing.assert_array_equal(tensor.numpy(), array)
        assert not np.shares_memory(tensor.numpy(), array)


@pytest.mark.parametrize("bad", [[1.0], 1.0, None, "x"])
def test_what_is_neither_is_named(bad):
    with pytest.raises(TypeError, match=f"X is a {type(bad).__name__}, expected"):
        interop.to_numpy(bad, name="X")


def test_tensors_that_have_no_numpy_view():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"X has layout torch\.sparse_coo"):
        interop.to_numpy(torch.eye(2).to_sparse(), name="X")
    with pytest.raises(TypeError, match="X is on device 'meta', expected 'cpu'"):
        interop.to_numpy(torch.empty(2, device="meta"), name="X")


def test_dtypes_of_both_are_one():
    torch = pytest.importorskip("torch")
    for name, dtype in VALUE_DTYPES.items():
        assert interop.numpy_dtype(getattr(torch, name)) == dtype
        assert interop.numpy_dtype(dtype) == interop.numpy_dtype(name) == dtype
        cast = interop.cast(torch.ones(1), dtype)
        assert cast.dtype == getattr(torch, name)


# ---- take, combine, concatenate ----


@st.composite
def runs(draw):
    """Draw values (small integers: exact in every dtype), an order, and starts of runs in it."""
    size = draw(st.integers(1, 20))
    data = draw(hnp.arrays(np.int8, size, elements=st.integers(-6, 6)))
    order = np.array(draw(st.permutations(range(size))), dtype=np.int64)
    later = draw(st.sets(st.integers(1, size - 1))) if size > 1 else set()
    return data, order, np.array([0, *sorted(later)], dtype=np.int64)


@given(
    given_runs=runs(),
    name=st.sampled_from([name for name in NAMES if name != "int8"]),
    keep=st.booleans(),
    single=st.booleans(),
)
def test_combine_against_float64(given_runs, name, keep, single):
    pytest.importorskip("torch")
    data, order, starts = given_runs
    order = None if keep else order
    starts = None if single else starts
    expected = data.astype(np.float64) if order is None else data[order].astype(np.float64)
    if starts is not None:
        expected = np.array([run.sum() for run in np.split(expected, starts[1:])])
    values = interop.as_tensor(data.astype(VALUE_DTYPES[name]))
    made = interop.combine(values, order, starts)
    assert made.dtype == values.dtype
    np.testing.assert_array_equal(interop.to_numpy(made, name="made"), expected)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_halves_are_summed_in_fp32(name):
    torch = pytest.importorskip("torch")
    data = torch.ones(4097).to(getattr(torch, name))
    data[0] = 2048  # + 1 is lost in fp16 and bf16, one by one
    assert float(interop.combine(data, None, np.array([0]))[0]) == 6144


def test_combine_and_take_have_gradients():
    torch = pytest.importorskip("torch")
    data = torch.arange(1.0, 6.0, dtype=torch.float64, requires_grad=True)
    order, starts = np.array([4, 0, 2, 2, 1]), np.array([0, 2, 3])
    assert torch.autograd.gradcheck(lambda d: interop.combine(d, order, starts), (data,))
    assert torch.autograd.gradcheck(lambda d: interop.take(d, order), (data,))
    assert torch.autograd.gradcheck(lambda d: interop.concatenate(d, d, name="d"), (data,))
    assert interop.take(data, None) is data


def test_concatenate_refuses_a_mixture():
    torch = pytest.importorskip("torch")
    for b in (torch.ones(1), np.ones(1, np.float32)):
        with pytest.raises(TypeError, match=r"b is .*float32, the matrix has numpy float64"):
            interop.concatenate(np.ones(1), b, name="b")
