"""Eigen's products: eigen.cpp, compiled on demand where Eigen's headers are found."""

import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from sparsecore.bench.comparison import Absent
from sparsecore.bench.peers import Peer, shared_library

__all__ = ["compile_library", "find"]

_SOURCE = Path(__file__).with_name("eigen.cpp")
_PLACES = ("/usr/include/eigen3", "/usr/local/include/eigen3", "/opt/homebrew/include/eigen3")
_VERSION = re.compile(r"#define EIGEN_(?:WORLD|MAJOR|MINOR|PATCH)_VERSION (\d+)")
_ARCHITECTURE = {None: ("-march=native",), "avx2": ("-mavx2", "-mfma", "-mf16c")}


def find(target: str | None) -> Peer:
    """Return Eigen, compiled for `target` or, without one, for this processor.

    Raises
    ------
    Absent
        Where its headers or a compiler are missing, or do not go together.
    """
    headers = _headers()
    library = compile_library(
        _SOURCE, ["-O3", "-DNDEBUG", "-fopenmp", *_ARCHITECTURE[target], f"-I{headers}"]
    )
    products = partial(shared_library.products, shared_library.load(library), "eigen", packs=False)
    return Peer(products, f"Eigen {_version(headers)}")


def compile_library(source: Path, flags: Sequence[str]) -> Path:
    """Compile a C++ source to a shared library, once; later runs find it in a temporary folder.

    Raises
    ------
    Absent
        Where there is no compiler, or it refuses.
    """
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        reason = "there is no C++ compiler"
        raise Absent(reason)
    command = [*compiler.split(), "-std=c++17", "-shared", "-fPIC", *flags]
    key = hashlib.sha256(source.read_bytes() + "\0".join(command).encode()).hexdigest()[:16]
    library = _private_folder() / f"{source.stem}-{key}.so"
    if not library.is_file():
        unfinished = library.with_suffix(f".{os.getpid()}")
        done = subprocess.run(
            [*command, "-o", str(unfinished), str(source)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            errors = [line for line in done.stderr.splitlines() if "error" in line]
            raise Absent("the compiler refuses it: " + (errors or ["no reason given"])[0])
        unfinished.replace(library)
    return library


def _private_folder() -> Path:
    """Return a folder that nobody else can put a library in."""
    folder = Path(tempfile.gettempdir()) / f"sparsecore-bench-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return Path(tempfile.mkdtemp(prefix="sparsecore-bench-"))
    return folder


def _headers() -> Path:
    named = os.environ.get("EIGEN_INCLUDE_DIR")
    for place in (named,) if named else _PLACES:
        if (Path(place) / "Eigen/SparseCore").is_file():
            return Path(place)
    reason = "no Eigen headers (EIGEN_INCLUDE_DIR names their folder)"
    raise Absent(reason)


def _version(headers: Path) -> str:
    text = (headers / "Eigen/src/Core/util/Macros.h").read_text(encoding="utf-8")
    return ".".join(_VERSION.findall(text)) or "of unknown version"
