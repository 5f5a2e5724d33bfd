"""The package keeps its promises about itself: stub, symbols, imports, version."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import WrapperDescriptorType
from typing import Any

import pytest

import sparsecore
from sparsecore import _core

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(sparsecore.__file__).parent
# A line of `nm --format=posix -C`: name, kind, value and mostly size; C++ names have spaces too.
SYMBOL = re.compile(r"^(?P<name>.+) (?P<kind>[A-Za-z]) [0-9a-f]+(?: [0-9a-f]+)? *$", re.MULTILINE)
OPTIONAL = (
    *("torch", "torch_pruning", "scipy", "sklearn", "matplotlib", "click", "rich"),
    *("onnx", "onnxscript", "onnxruntime"),
)


# ---- the stub describes the binary ----


def parameters(function: ast.FunctionDef) -> list[tuple[str, str, bool]]:
    """Name, kind and "has a default" of every parameter except self."""
    args = function.args
    plain = [*args.posonlyargs, *args.args]
    optional = len(plain) - len(args.defaults)
    listed = [(arg.arg, "plain", i >= optional) for i, arg in enumerate(plain)]
    keyword_only = zip(args.kwonlyargs, args.kw_defaults, strict=True)
    listed += [(arg.arg, "keyword", default is not None) for arg, default in keyword_only]
    return [entry for entry in listed if entry[0] != "self"]


def stub_names(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield each name that the stub declares with what is comparable about it."""
    for node in body:
        match node:
            case ast.ClassDef():
                yield prefix + node.name, "class"
                yield from stub_names(node.body, f"{node.name}.")
            case ast.FunctionDef():
                is_property = any(ast.unparse(d) == "property" for d in node.decorator_list)
                yield prefix + node.name, "property" if is_property else parameters(node)
            case ast.AnnAssign(target=ast.Name(id=name), value=None):
                yield prefix + name, "value"


def binary_signature(function: Any) -> list[tuple[str, str, bool]]:
    """Read the parameters from the first line of a pybind11 docstring, which is valid Python."""
    (definition,) = ast.parse(f"def {function.__doc__.splitlines()[0]}: ...").body
    assert isinstance(definition, ast.FunctionDef)
    return parameters(definition)


def binary_names(owner: Any, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield each public name of the compiled module in the form of `stub_names`."""
    for name, value in vars(owner).items():
        if name.startswith("_") and name not in ("__version__", "__init__"):
            continue
        match value:
            case WrapperDescriptorType():  # the __init__ of a class without a constructor
                continue
            case type():
                yield name, "class"
                yield from binary_names(value, f"{name}.")
            case property():
                yield prefix + name, "property"
            case str() | bool():
                yield prefix + name, "value"
            case _:
                yield prefix + name, binary_signature(value)


def test_stub_declares_what_the_binary_has() -> None:
    stub = ast.parse((PACKAGE / "_core.pyi").read_text(encoding="utf-8"))
    declared = dict(stub_names(stub.body))
    if not hasattr(_core, "DeviceCsr"):  # a build without CUDA
        of_devices = re.compile("device_|Device")
        declared = {name: what for name, what in declared.items() if not of_devices.match(name)}
    assert declared == dict(binary_names(_core))


# ---- no code of one CPU target can stand in for another's ----


def target_objects(target: str) -> list[Path]:
    """Object files of the newest release build tree that were compiled for `target`."""
    trees = sorted(ROOT.glob("build/cp*"), key=lambda tree: tree.stat().st_mtime)
    if not trees:
        return []
    return sorted(trees[-1].glob(f"CMakeFiles/*{target}.dir/**/*.o"))


@pytest.mark.parametrize("target", _core.compiled_targets())
def test_weak_symbols_stay_in_the_namespace_of_their_target(target: str) -> None:
    """Every object may define weak symbols under its own namespace only.

    Of two weak definitions with one name the linker keeps either. Were an inline function shared by
    two targets, the one compiled for the wider instruction set could run on the lesser processor.
    """
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("nm is not installed")
    objects = target_objects(target)
    if not objects:
        pytest.skip("the object files of the build are not in this tree")
    own = f"sparsecore::{target}::"
    listing = subprocess.run(
        [nm, "-C", "--defined-only", "--format=posix", *objects],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    defined = [match.group("name", "kind") for match in SYMBOL.finditer(listing)]
    assert any(own in name for name, _ in defined), "these objects hold nothing of this target"
    weak = [name for name, kind in defined if kind in "WVu" and own not in name]
    # The address of the C++ exception routine: a constant that is the same in every object.
    assert [name for name in weak if not name.startswith("DW.ref.__gxx_personality")] == []


# ---- importing ----


def run_python(code: str) -> str:
    """Run `code` in a fresh interpreter with warnings as errors; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_no_optional_package() -> None:
    code = f"import sys, sparsecore; print(*(set(sys.modules) & set({OPTIONAL})))"
    assert run_python(code).split() == []


def test_works_where_no_optional_package_is_installed() -> None:
    code = f"""
import sys

class Missing:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in {OPTIONAL}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing)
import numpy as np
import sparsecore as sc
A = sc.CSR.from_dense(np.array([[0.0, 2.0], [0.0, 0.0], [3.0, 0.0]]))
print(*sc.csr_matmul(A, np.array([1.0, 10.0])))
"""
    assert run_python(code).split() == ["20.0", "0.0", "3.0"]


# ---- one version ----


def test_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = {
        "pyproject.toml": project["version"],
        "sparsecore": sparsecore.__version__,
        "sparsecore._core": _core.__version__,
        "installed": importlib.metadata.version("sparsecore"),
    }
    assert set(versions.values()) == {project["version"]}, versions
