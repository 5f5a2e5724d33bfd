"""A child forked after a parallel product works. Each test is a process with a time limit.

Without a remedy the child waits for OpenMP's threads, which fork does not copy.
"""

import pytest

from child import ADDRESS_SANITIZER, output

PRODUCT = """
import multiprocessing, os, sys, threading, time

import numpy as np
import sparsecore as sc

A = sc.CSR.from_dense(np.ones((1000, 1000), np.float32))
X = np.ones((1000, 64), np.float32)

def product(_=None):
    return bool((sc.csr_matmul(A, X, threads=2) == 1000).all())

def child_status(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

assert product()
"""


def run(code: str) -> str:
    return output(PRODUCT + code, timeout=60)


def test_os_fork():
    printed = run(
        """
for _ in range(10):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if product() and product() else 1)
    assert child_status(pid) == 0
    assert product()
print("done")
"""
    )
    assert printed == "done"


def test_grandchildren():
    printed = run(
        """
pid = os.fork()
if pid == 0:
    ok = product()
    inner = os.fork()
    if inner == 0:
        os._exit(0 if product() else 1)
    os._exit(0 if ok and child_status(inner) == 0 and product() else 1)
print(child_status(pid), product())
"""
    )
    assert printed == "0 True"


@pytest.mark.skipif(
    ADDRESS_SANITIZER,
    reason="a lock of the sanitizer's allocator, held by another thread at the fork, stays held in "
    "the child (GCC 12 to 13: no fork handlers), whatever the child allocates for",
)
def test_fork_while_other_threads_multiply():
    printed = run(
        """
stop = threading.Event()

def work():
    while not stop.is_set():
        assert product()

threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(10):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if product() else 1)
    assert child_status(pid) == 0
stop.set()
for thread in threads:
    thread.join()
print("done")
"""
    )
    assert printed == "done"


def test_multiprocessing_pool():
    printed = run(
        """
with multiprocessing.get_context("fork").Pool(3) as pool:
    print(all(pool.map(product, range(12))), product())
"""
    )
    assert printed == "True True"


def test_multiprocessing_spawn():
    """A matrix travels to a fresh process by pickle."""
    printed = run(
        """
import operator

with multiprocessing.get_context("spawn").Pool(1) as pool:
    print((pool.apply(operator.matmul, (A, X)) == 1000).all())
"""
    )
    assert printed == "True"


def test_torch_data_loader():
    pytest.importorskip("torch")
    printed = run(
        """
import torch

class Products(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return sc.csr_matmul(A, torch.full((1000, 64), float(index)), threads=2)

torch.ones(500, 500) @ torch.ones(500, 500)
loader = torch.utils.data.DataLoader(
    Products(), batch_size=2, num_workers=2, multiprocessing_context="fork"
)
for _ in range(2):
    batches = torch.cat(list(loader))
    assert (batches == 1000 * torch.arange(8.0)[:, None, None]).all()
    assert product()
print("done")
"""
    )
    assert printed == "done"
