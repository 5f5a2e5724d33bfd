"""One process, one set of cores, one number of threads, one instruction set, for every library."""

import os
import sys
from collections.abc import Mapping

__all__ = ["TARGETS", "environment", "pin"]

# Read by the OpenMP runtimes and BLAS libraries when they are loaded.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# As a power of two of clock cycles: OpenBLAS's threads sleep at once after a product. By default
# they spin for 20 ms more, on the core that the next contender's second thread needs.
_OPENBLAS_SPIN = "4"
# What holds every library to one instruction set: sparsecore, MKL (torch's too), torch, oneDNN,
# OpenBLAS.
TARGETS: Mapping[str, Mapping[str, str]] = {
    "avx2": {
        "SPARSECORE_TARGET": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    },
}


def environment(threads: int, target: str | None) -> dict[str, str]:
    """Return the variables that a run with so many threads needs from its start on.

    MKL's own OpenMP runtime would share the cores with GNU's, which torch and sparsecore use.
    """
    return {
        **dict.fromkeys(_THREADS, str(threads)),
        "OPENBLAS_THREAD_TIMEOUT": _OPENBLAS_SPIN,
        "MKL_THREADING_LAYER": "SEQUENTIAL" if threads == 1 else "GNU",
        **(TARGETS[target] if target else {}),
    }


def pin(threads: int, target: str | None = None) -> bool:
    """Keep the process on `threads` cores, the last ones, as interrupts favour the first.

    numpy has been imported by now, and with it a BLAS that has read its settings. So the process
    starts itself again where they are not what they should be.

    Returns
    -------
    bool
        Whether this system can pin.
    """
    can_pin = hasattr(os, "sched_setaffinity")
    if can_pin:
        cores = sorted(os.sched_getaffinity(0))
        if not 1 <= threads <= len(cores):
            sys.exit(f"--threads is {threads}, expected 1 to the {len(cores)} cores of the process")
        os.sched_setaffinity(0, cores[-threads:])
    wanted = environment(threads, target)
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **wanted})
    return can_pin
