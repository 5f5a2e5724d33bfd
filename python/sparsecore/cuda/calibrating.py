"""Measurements of what kernels for 2:4 matrices cost on a device."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sparsecore import interop
from sparsecore.cuda import calibration, kernels24
from sparsecore.cuda.costs import Cost, Work, fitted
from sparsecore.cuda.events import seconds_of_calls
from sparsecore.formats import Sparse24
from sparsecore.timing import Timer, interleaved

__all__ = ["calibrate"]

# (m, k, n): next to nothing to do, what bytes decide, and what operations decide.
_SHAPES = ((256, 256, 16), (8192, 8192, 16), (4096, 4096, 4096))
_DTYPES = ("float16", "bfloat16")


def calibrate(
    device: Any = "cuda",
    *,
    path: Path | None = None,
    timer: Timer | None = None,
    largest: int = 8192,
) -> dict[tuple[str, str], Cost]:
    """Measure 2:4 products on a device, so that later ones run by what should be fastest.

    Three numbers a kernel and dtype are fitted to products of three shapes. Takes some seconds, and
    memory for a matrix of 8192 x 8192.

    Parameters
    ----------
    device : torch.device or str
    path : Path, optional
        The file of results; by default `sparsecore.cuda.calibration.default_path`, the one that
        products read.
    timer : callable, optional
        Measures a mapping of callables; by default by the device's clock.
    largest : int
        Limit of each size, for trying it.

    Returns
    -------
    dict
        From dtype and kernel to what it costs.

    Raises
    ------
    RuntimeError
        Where there is no such device.

    Examples
    --------
    >>> import sparsecore as sc
    >>> if sc.cuda.is_available():
    ...     costs = sc.cuda.calibrate()
    """
    torch = interop.import_torch()
    place = torch.empty(0, device=device).device  # with its number
    found: dict[tuple[str, str], Cost] = {}
    for name in _DTYPES:
        samples: dict[kernels24.Kernel24, list[tuple[Work, float]]] = {}
        for shape in _SHAPES:
            m, k, n = (min(size, largest) for size in shape)
            call = _call(place, getattr(torch, name), (m, k, n))
            todo = kernels24.work((m, k), n, call.X.itemsize)
            for kernel, seconds in _measured(call, place, timer).items():
                samples.setdefault(kernel, []).append((todo, seconds))
        found |= {(name, kernel): fitted(of_kernel) for kernel, of_kernel in samples.items()}
    costs = {(getattr(torch, name), kernel): cost for (name, kernel), cost in found.items()}
    calibration.keep(costs, place, path)
    return found


def _call(device: Any, dtype: Any, sizes: tuple[int, int, int]) -> kernels24.Call:
    torch = interop.import_torch()
    m, k, n = sizes
    W = torch.randn(m, k, device=device, dtype=torch.float32).to(dtype)
    S = Sparse24.from_dense(W, prune=True)
    x = torch.randn(n, k, device=device, dtype=torch.float32).to(dtype)
    out = torch.empty(n, m, device=device, dtype=dtype)
    return kernels24.Call(S._structure, S.values, x.t(), out.t(), "calibrate")


def _measured(
    call: kernels24.Call, device: Any, timer: Timer | None
) -> dict[kernels24.Kernel24, float]:
    """Return the median seconds of each kernel that can run a call."""
    kernels = [kernel for kernel in kernels24.KERNELS if kernels24.is_possible(kernel, call)]
    contenders: dict[str, Callable[[], object]] = {
        kernel: partial(kernels24.run_by, kernel, call) for kernel in kernels
    }
    measure = timer or partial(interleaved, elapsed=seconds_of_calls(device))
    times = measure(contenders)
    return {kernel: times[kernel].median for kernel in kernels}
