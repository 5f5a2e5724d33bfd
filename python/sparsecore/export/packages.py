"""What exporting needs besides sparsecore and torch."""

from importlib.util import find_spec

__all__ = ["need"]


def need(caller: str, *packages: str) -> None:
    """Raise ModuleNotFoundError where one of these packages is not installed, naming the extra."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        msg = f"{caller} needs {', '.join(missing)}: pip install 'sparsecore[export]'"
        raise ModuleNotFoundError(msg, name=missing[0])
