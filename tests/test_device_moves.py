"""Matrices between the host and a CUDA device, and what keeps them where they are."""

import copy
import pickle

import numpy as np
import pytest

import sparsecore as sc
from device_format_cases import back, there
from sparsecore import _core, interop
from sparsecore.cuda.structure import DeviceStructure

pytestmark = pytest.mark.gpu

DENSE = np.array([[0.0, 3, 0, 7], [0, 0, 8, 0], [2, 5, 0, 0], [0, 0, 0, 9]], np.float32)


@pytest.fixture
def here():
    return sc.CSR.from_dense(DENSE)


def test_csr_both_ways(gpu, here):
    A = here.to(gpu)
    assert isinstance(A._structure, DeviceStructure)
    assert np.array_equal(back(A.toarray()), DENSE)
    B = A.to("cpu")
    assert isinstance(B._structure, _core.CsrStructure)
    assert B._structure.equals(here._structure)
    assert np.array_equal(back(B.data), here.data)
    assert B.device == there(DENSE, gpu).cpu().device


def test_coo_both_ways(gpu, here):
    A = here.tocoo().to(gpu)
    assert np.array_equal(back(A.toarray()), DENSE)
    B = A.to("cpu")
    for mine, given in ((B._row, here.tocoo().row), (B._col, here.tocoo().col)):
        assert mine.dtype == given.dtype
        assert np.array_equal(mine, given)
        with pytest.raises(ValueError, match="WRITEABLE"):
            mine.flags.writeable = True


def test_what_is_there_is_shared(gpu, here):
    A = here.to(gpu)
    assert A.to(gpu)._structure is A._structure
    assert here.to("cpu")._structure is here._structure


def test_a_device_that_is_not_there(gpu, here):  # noqa: ARG001
    for matrix in (here, here.tocoo()):
        with pytest.raises(RuntimeError, match=r"to: device 'meta' is not available: matrices"):
            matrix.to("meta")
        with pytest.raises(RuntimeError, match=r"to: device 'nowhere' is not available: "):
            matrix.to("nowhere")


def test_moves_pass_gradients(gpu):
    W = there(DENSE, gpu).cpu().requires_grad_()
    A = sc.CSR._wrap(sc.CSR.from_dense(DENSE)._structure, W[W.detach() != 0]).to(gpu)
    A.data.sum().backward()
    assert np.array_equal(back(W.grad), DENSE != 0)


@pytest.mark.parametrize("kind", ["csr", "coo"])
def test_copies_stay_on_the_device(gpu, here, kind):
    A = here.to(gpu) if kind == "csr" else here.tocoo().to(gpu)
    copies = A.copy(), copy.copy(A), copy.deepcopy(A), pickle.loads(pickle.dumps(A))
    for made in (*copies, A.astype("float64").astype("float32")):
        assert made.equals(A)
        assert made.device == A.device
        assert np.array_equal(back(made.toarray()), DENSE)
    copies[0].data.zero_()
    copies[2].data.zero_()
    assert np.array_equal(back(A.toarray()), DENSE)
    if kind == "csr":
        assert A.with_data(A.data * 2)._structure is A.copy()._structure is A._structure


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
@pytest.mark.parametrize("kind", ["csr", "coo"])
def test_files_are_those_of_the_host(gpu, here, kind, suffix, tmp_path):
    host = here if kind == "csr" else here.tocoo()
    paths = [tmp_path / f"{name}.{suffix}" for name in ("host", "device")]
    sc.save(paths[0], host)
    sc.save(paths[1], host.to(gpu))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sc.load(paths[1]).equals(host)


def test_indices_of_eight_bytes(gpu, tmp_path):
    host = sc.COO((np.ones(2), ([0, 2**34], [2**33, 1])), (2**35, 2**36))
    A = host.to(gpu)
    assert repr(A) == repr(host)
    assert A.equals(host)
    assert A.to("cpu")._row.dtype == np.uint64
    sc.save(tmp_path / "A.safetensors", A)
    sc.save(tmp_path / "B.safetensors", host)
    assert (tmp_path / "A.safetensors").read_bytes() == (tmp_path / "B.safetensors").read_bytes()
    wide = sc.CSR((np.ones(1), [2**33], [0, 1]), (1, 2**36))
    assert repr(wide.to(gpu)) == repr(wide)
    assert wide.to(gpu).equals(wide)


def test_torch_and_scipy(gpu, here):
    A = here.to(gpu)
    tensor = A.to_torch()
    assert np.array_equal(back(tensor.to_dense()), DENSE)
    assert sc.CSR.from_torch(tensor).equals(here)
    assert sc.CSR.from_torch(tensor.to_sparse_coo()).equals(here)
    assert sc.CSR.from_torch(there(DENSE, gpu)).equals(here)
    assert np.array_equal(A.to_scipy().toarray(), DENSE)
    assert A.to_scipy().indices.dtype == np.int32


def test_equal_to_the_same_on_the_host(gpu, here):
    A = here.to(gpu)
    other = sc.CSR.from_dense(DENSE + (np.arange(4) == 0))
    assert A.equals(here)
    assert here.equals(A)
    assert A.same_structure(here)
    assert not A.same_structure(other.to(gpu))
    assert not other.equals(A)
    assert not A.equals(A.with_data(A.data + 1))
    assert A.allclose(A.with_data(A.data * (1 + 1e-7)))
    assert not A.allclose(other.to(gpu))
    assert A.allclose(sc.COO.from_dense(DENSE).append([0.0], ([0], [0])).tocsr().to(gpu))


def test_a_structure_that_somebody_wrote_to_is_found(gpu, here):
    A = here.to(gpu)
    A.check()
    A._structure.indices[0] = 3
    with pytest.raises(ValueError, match="columns of a row are not ascending"):
        A.check()
    A._structure.indices[0] = 200
    with pytest.raises(IndexError, match="CSR: column 200 in row 0 at position 0"):
        A.check()


class Foreign:
    """An array of another library, on a CUDA device."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack_device__(self):
        """Name the first CUDA device, as dlpack.h numbers kinds."""
        return (2, 0)

    def __dlpack__(self, **options):
        """Hand the tensor out."""
        return self.tensor.__dlpack__(**options)


def test_arrays_of_other_libraries(gpu, here, monkeypatch):
    if gpu.type == "cpu":  # torch asks for a stream of the device that is none
        monkeypatch.setattr(interop.import_torch(), "from_dlpack", lambda x: x.tensor)

    def foreign(array):
        return Foreign(there(array, gpu))

    indices, indptr = np.array(here.indices, np.int64), np.array(here.indptr, np.int64)
    A = sc.CSR((foreign(here.data), foreign(indices), foreign(indptr)), (4, 4))
    assert A.equals(here)
    assert sc.CSR.from_dense(foreign(DENSE)).equals(here)
    assert A.with_data(foreign(here.data)).equals(here)
    rows = here.tocoo()
    position = foreign(rows.row.astype(np.int64)), foreign(indices)
    assert sc.COO((foreign(here.data), position), (4, 4)).equals(rows)
    assert A.gather_rows(foreign(np.array([3, 0]))).equals(here.gather_rows([3, 0]))
