"""What kernels for 2:4 matrices cost on a device: measured on request, kept in a file."""

from collections.abc import Mapping
from dataclasses import astuple
from functools import cache
from pathlib import Path
from typing import Any

from sparsecore import _core, interop
from sparsecore.cuda import user_file
from sparsecore.cuda.costs import Cost

__all__ = ["default_path", "forget", "keep", "known_costs"]

_WHAT = "costs"


def default_path() -> Path:
    """Return where the file lies: below ``XDG_CACHE_HOME``, or ``~/.cache``.

    Examples
    --------
    >>> from sparsecore.cuda import calibration
    >>> calibration.default_path().name
    'costs24.json'
    """
    return user_file.default_path("costs24")


def known_costs(device: Any, dtype: Any) -> Mapping[str, Cost]:
    """Return what each kernel costs for a dtype; nothing where it was not measured."""
    return _of_file(default_path()).get(_key(device, dtype), {})


def keep(costs: Mapping[tuple[Any, str], Cost], device: Any, path: Path | None = None) -> None:
    """Add what was measured to the file.

    Parameters
    ----------
    costs : mapping
        From dtype and kernel.
    device : torch.device
    path : Path, optional
        `default_path` if not given.
    """
    path = default_path() if path is None else path
    known = user_file.read(path, _WHAT, _cost)
    new = {f"{_key(device, dtype)}/{kernel}": cost for (dtype, kernel), cost in costs.items()}
    user_file.write(
        path, _WHAT, {name: list(astuple(cost)) for name, cost in (known | new).items()}
    )
    forget()


def forget() -> None:
    """Have the next product read the file again."""
    _of_file.cache_clear()


@cache
def _of_file(path: Path) -> dict[str, dict[str, Cost]]:
    found: dict[str, dict[str, Cost]] = {}
    for name, cost in user_file.read(path, _WHAT, _cost).items():
        key, _, kernel = name.rpartition("/")
        found.setdefault(key, {})[kernel] = cost
    return found


def _key(device: Any, dtype: Any) -> str:
    return (
        f"{_device_name(device.index or 0)}/{_core.__version__}/{interop.numpy_dtype(dtype).name}"
    )


@cache
def _device_name(index: int) -> str:
    if _core.cuda_is_emulated:
        return "an emulated device"
    return str(interop.import_torch().cuda.get_device_name(index))


def _cost(name: str, entry: object) -> Cost:
    if not isinstance(entry, list) or len(entry) != 3 or {*map(type, entry)} - {int, float}:
        msg = f"{name} is {entry!r}, expected three numbers"
        raise ValueError(msg)
    return Cost(*entry)
