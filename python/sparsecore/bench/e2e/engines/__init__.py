"""The dense engines: which of them are here, and why the others are not."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from sparsecore.bench.comparison import Absent
from sparsecore.bench.e2e.engines import onnxruntime_engine, openvino_engine, torch_engines
from sparsecore.bench.e2e.engines.workload import Workload

__all__ = ["Engine", "Workload", "find_engines", "versions"]


@dataclass(frozen=True, slots=True)
class Engine:
    """A way to run a dense network.

    ``build(workload)`` returns the call to measure, or raises `Absent` where the engine has none
    for this network. `packages` have to be installed. Only "float32" can be the best dense engine:
    int8 computes something else, and is a line of its own.
    """

    build: Callable[[Workload], Callable[[], Any]]
    packages: tuple[str, ...] = ()
    precision: Literal["float32", "int8"] = "float32"

    def run(self, workload: Workload) -> Callable[[], Any]:
        """Return the call to measure."""
        try:
            return self.build(workload)
        except (RuntimeError, NotImplementedError) as error:
            # No message: it may name paths of this machine.
            msg = f"cannot run it: {type(error).__name__}"
            raise Absent(msg) from error


_ONNX = ("onnx", "onnxruntime")
_ALL: Mapping[str, Engine] = {
    "torch eager": Engine(torch_engines.eager),
    "torch channels_last": Engine(torch_engines.channels_last),
    "torch inductor": Engine(torch_engines.inductor),
    "onnxruntime": Engine(onnxruntime_engine.float32, _ONNX),
    "openvino": Engine(openvino_engine.float32, ("onnx", "openvino")),
    "onnxruntime int8": Engine(onnxruntime_engine.int8, _ONNX, "int8"),
    "openvino int8": Engine(openvino_engine.int8, (*_ONNX, "openvino"), "int8"),
}


def find_engines(asked: Collection[str]) -> tuple[dict[str, Engine], dict[str, str]]:
    """Return the engines that were asked for and are here by name, and why others are not.

    torch eager takes part always: every output is compared with it.
    """
    present, absent = {}, {}
    for name, engine in _ALL.items():
        missing = [package for package in engine.packages if _version(package) is None]
        if name != "torch eager" and name not in asked:
            absent[name] = "not asked for"
        elif missing:
            absent[name] = f"not installed: {', '.join(missing)}"
        else:
            present[name] = engine
    return present, absent


def versions(engine: Engine) -> dict[str, str]:
    """Return the versions of the packages of an engine that is here."""
    return {package: str(_version(package)) for package in ("torch", *engine.packages)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
