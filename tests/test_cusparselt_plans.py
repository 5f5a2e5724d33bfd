"""What is kept of cuSPARSELt between calls: plans, handles of threads and devices, lifetimes."""

import copy
import pickle
import threading

import numpy as np
import pytest

import cusparselt_cases as lt
import oracle
from cusparselt_cases import on_device, sides
from device_cases import back
from oracle import F16
from sparsecore.cuda.current import current
from sparsecore.cuda.libraries import open_cusparselt

torch = pytest.importorskip("torch", reason="torch is not installed")

pytestmark = pytest.mark.gpu

SHAPE = (32, 16, 64)


@pytest.fixture
def given():
    return sides(np.random.default_rng(1), F16, SHAPE)


def test_plans_are_reused(given, cusparselt, gpu):
    S, X = cusparselt.compress(on_device(given.W, gpu)), on_device(given.X, gpu)
    bias = torch.zeros(2, 32).to(torch.float16).to(gpu)

    def counts():
        return open_cusparselt().plans(X.device.index or 0)

    def calls():
        assert counts() == (0, 0, 0)
        for _ in range(3):
            cusparselt.matmul(S, X)
        assert counts() == (1, 2, 1)
        cusparselt.matmul(S, torch.zeros_like(X))  # another address, the same product
        assert counts() == (1, 3, 1)
        different = (
            {"X": X[:, :8]},
            {"out": X.new_empty(16, 32).t()},
            {"activation": "relu"},
            {"bias": bias[0]},
            {"bias": bias[1]},
            {"algorithm": cusparselt.search(S, X)},
        )
        for arguments in different:
            cusparselt.matmul(S, **{"X": X} | arguments)
        assert counts() == (7, 3, 7)
        for arguments in different:
            cusparselt.matmul(S, **{"X": X} | arguments)
        return counts()

    assert lt.in_threads(calls) == [(7, 9, 7)]


def test_plans_have_a_bound(given, cusparselt, gpu):
    fake = lt.fake()
    S = cusparselt.compress(on_device(given.W, gpu))
    x = torch.zeros(64, 8 * 140).to(torch.float16).to(gpu)

    def calls():
        cusparselt.matmul(S, x[:, :8])
        before = fake.living()
        for count in range(2, 141):
            cusparselt.matmul(S, x[:, : 8 * count])
            cusparselt.matmul(S, x[:, :8])  # used again and again, so it stays
        made, reused, held = open_cusparselt().plans(0)
        assert (made, reused, held) == (140, 139, 128)
        assert fake.living() == before + 127 * 5  # three descriptors, a selection and a plan

    lt.in_threads(calls)


def test_each_thread_has_a_handle_and_gives_it_back(given, cusparselt, gpu):
    fake = lt.fake()
    S, X = cusparselt.compress(on_device(given.W, gpu)), on_device(given.X, gpu)
    living, handles = fake.living(), fake.calls("cusparseLtInit")
    together = threading.Barrier(3)

    def products():
        together.wait()
        return [back(cusparselt.matmul(S, X)) for _ in range(4)]

    for results in lt.in_threads(products, 3):
        for Y in results:
            oracle.check(Y, lt.product(given, F16), "threads")
    assert fake.calls("cusparseLtInit") == handles + 3
    assert fake.living() == living


def test_each_device_has_a_handle(given, cusparselt, gpu):  # noqa: ARG001
    fake = lt.fake()
    W, X = on_device(given.W, gpu), on_device(given.X, gpu)
    library, handles = open_cusparselt(), fake.calls("cusparseLtInit")

    def products():
        for device in (0, 1, 0, 1):
            fake.set_device(device)
            Y = X.new_empty(32, 16)
            with current(W) as (allocate, stream):
                S = library.compress(W, device, allocate, stream)
                S.matmul(X, Y, "matmul", None, None, None, None, allocate, stream)
            oracle.check(back(Y), lt.product(given, F16), device)
        return library.plans(0), library.plans(1)

    try:
        assert lt.in_threads(products) == [((1, 1, 1), (1, 1, 1))]
    finally:
        fake.set_device(0)
    assert fake.calls("cusparseLtInit") == handles + 2


def test_an_allocator_without_memory(given, cusparselt, gpu):  # noqa: ARG001
    """Whichever of its requests fails, the error arrives and nothing of the library's is lost."""
    fake = lt.fake()
    W, X = on_device(given.W, gpu), on_device(given.X, gpu)
    library, Y = open_cusparselt(), X.new_empty(32, 16)

    def calls():
        with current(W) as (allocate, stream):
            room = 0

            def limited(nbytes):
                nonlocal room
                room -= 1
                if room < 0:
                    msg = f"no {nbytes} bytes are left"
                    raise MemoryError(msg)
                return allocate(nbytes)

            S = library.compress(W, 0, allocate, stream)
            none = (None, None, None, None)
            S.matmul(X, Y, "matmul", *none, allocate, stream)
            living = fake.living()
            for allowed in range(4):
                room = allowed
                with pytest.raises(MemoryError, match=r"no \d+ bytes are left"):
                    library.compress(W, 0, limited, stream)
            room = 0
            with pytest.raises(MemoryError, match=r"no \d+ bytes are left"):
                S.matmul(X, Y, "matmul", *none, limited, stream)
            with pytest.raises(MemoryError, match=r"no \d+ bytes are left"):
                S.search(X, Y, "search", limited, stream)
            room = 4
            library.compress(W, 0, limited, stream)
            assert fake.living() == living

    lt.in_threads(calls)


def test_a_copy_is_refused(given, cusparselt, gpu):
    """The format belongs to a version of the library and to a device."""
    S = cusparselt.compress(on_device(given.W, gpu))
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="compress the matrix again"):
            copied(S)
