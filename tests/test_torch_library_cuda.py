"""What the operators say of CUDA tensors, without a device: fake ones have no numbers."""

from contextlib import contextmanager

import pytest

torch = pytest.importorskip("torch")

from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402

import library_cases as lib  # noqa: E402
from sparsecore.library import kernels, kinds  # noqa: E402

MATRIX = lib.matrix("csr")  # registers the operators
PRODUCTS = [
    f"{kind}_{name}" for kind in ("csr", "held", "sparse24") for name in ("matmul", "sddmm")
]
CONVOLUTIONS = [
    f"{kind}_conv2d{gradient}"
    for kind in ("csr", "held")
    for gradient in ("", "_image_gradient", "_values_gradient")
]


@contextmanager
def autocast(dtype):
    """Turn on CUDA's autocast as `torch.autocast` does, which first looks for a device."""
    before = torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", dtype)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.set_autocast_dtype("cuda", before)


def fakes(dtype):
    """Return x (10, 3), values (7,) of a dtype, and what names a (6, 10) matrix."""
    x, values = torch.empty(10, 3, device="cuda"), torch.empty(7, dtype=dtype, device="cuda")
    indices, indptr = (torch.empty(7, dtype=torch.int8, device="cuda") for _ in range(2))
    return x, values, indices, indptr, [6, 10]


@pytest.mark.parametrize("name", [*PRODUCTS, *CONVOLUTIONS])
def test_every_operator_has_a_kernel_for_cuda(name):
    assert torch._C._dispatch_has_kernel_for_dispatch_key(f"sparsecore::{name}", "CUDA")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_are_on_the_device_in_the_dtype_and_order_of_x(dtype):
    with FakeTensorMode():
        x, *named = fakes(dtype)
        y = torch.ops.sparsecore.csr_matmul(x, *named)
        assert (y.device.type, y.dtype, y.shape) == ("cuda", torch.float32, (6, 3))
        x = torch.empty(3, 10, device="cuda").t()
        assert torch.ops.sparsecore.csr_matmul(x, *named).stride() == (1, 6)


def test_autocast_of_cuda_casts_x_to_the_values_and_that_of_the_cpu_does_not():
    with FakeTensorMode():
        x, values, *named = fakes(torch.bfloat16)
        u = torch.empty(6, 3, dtype=torch.bfloat16, device="cuda")
        matmul, sddmm = torch.ops.sparsecore.csr_matmul, torch.ops.sparsecore.csr_sddmm
        with autocast(torch.bfloat16):
            assert matmul(x, values, *named).dtype == torch.bfloat16
            assert sddmm(u, x, *named).dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16):
            assert matmul(x, values, *named).dtype == torch.float32


def test_operands_of_two_devices_are_named():
    with FakeTensorMode():
        x, values, *named = fakes(torch.float32)
        on_cpu = torch.empty(10, 3, device="cpu")
        with pytest.raises(TypeError, match="csr_matmul: X is on device 'cpu', expected 'cuda:0'"):
            torch.ops.sparsecore.csr_matmul(on_cpu, values, *named)
        with pytest.raises(TypeError, match="csr_matmul: X is on device 'cuda:0', expected 'cpu'"):
            torch.ops.sparsecore.csr_matmul(x, values.cpu(), *named)


def test_what_runs_on_the_host_only_says_so():
    expected = pytest.raises(TypeError, match="device 'cuda:0', but convolutions run on 'cpu' only")
    with FakeTensorMode(), expected:
        kernels.refused(kinds.CSR, torch.empty(1, device="cuda"))
