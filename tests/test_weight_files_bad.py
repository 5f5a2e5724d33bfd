"""weight_files/: damaged files of every kind give one line and exit code 2, and cost no memory."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sparsecore as sc
from child import ADDRESS_SANITIZER
from file_cases import claims, npz, patched_sizes, rewritten, set_entry
from weight_file_cases import KINDS, write_kind

pytestmark = pytest.mark.skipif(
    ADDRESS_SANITIZER, reason="the sanitizer's own memory needs the whole address space"
)

# Run in a process of its own, whose address space is bounded: what is allocated for a claim fails.
CHILD = """
import json, resource, sys
from pathlib import Path
from click.testing import CliRunner
from sparsecore.cli.commands import commands
from sparsecore.weight_files import open_weights

folder = Path(sys.argv[1])
for path in sorted(folder.glob("good*")):
    open_weights(path)  # imports what the kinds need, before memory is counted
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (96 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
results = {}
for path in sorted(folder.glob("bad*")):
    out = folder / "out.safetensors"
    done = CliRunner().invoke(commands, ["convert", str(path), str(out), "--to", "safetensors"])
    kind = type(done.exception).__name__
    results[path.name] = [done.exit_code, done.stderr, kind, out.exists()]
    out.unlink(missing_ok=True)
print(json.dumps(results))
"""


def converted(folder: Path) -> dict[str, tuple[int, str, str, bool]]:
    """Convert the bad files; return exit code, stderr, exception, whether there is an OUT."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return {name: tuple(values) for name, values in found.items()}


def check_refused(found: dict[str, tuple[int, str, str, bool]], *, all_of_them: bool) -> None:
    for name, (code, message, exception, is_written) in found.items():
        if code == 0 and not all_of_them:
            continue
        assert (code, exception) == (2, "SystemExit"), (name, message)
        assert message.startswith("Error: "), name
        assert name.rpartition(".")[0] in message, (name, message)
        assert message.count("\n") == 1, (name, message)
        assert len(message) < 600, name
        assert not is_written, name


def test_truncated_and_altered_files(tmp_path: Path) -> None:
    """Cut at many lengths none is whole; a changed byte may be one that nobody looks at."""
    rng = np.random.default_rng(0)
    present = []
    for kind in KINDS:
        try:
            path = write_kind(kind, tmp_path)
        except pytest.skip.Exception:
            continue
        present.append(kind)
        content = path.read_bytes()
        whole = len(content)
        lengths = sorted({*range(0, whole, max(whole // 12, 1)), whole - 1, whole - 2})
        for length in lengths:
            name = f"bad-cut-{kind}-{length}{path.suffix}"
            (tmp_path / name).write_bytes(content[:length])
        for i in range(12):
            changed = bytearray(content)
            changed[int(rng.integers(0, min(whole, 1500)))] = int(rng.integers(0, 256))
            (tmp_path / f"bad-byte-{kind}-{i}{path.suffix}").write_bytes(changed)
    assert {"safetensors", "checkpoint", "bitmask", "npz", "scipy"} <= set(present)
    found = converted(tmp_path)
    assert len(found) > 20 * len(present)
    check_refused({n: r for n, r in found.items() if "-cut-" in n}, all_of_them=True)
    check_refused({n: r for n, r in found.items() if "-byte-" in n}, all_of_them=False)


def test_headers_that_claim_what_is_not_there(tmp_path: Path) -> None:
    huge = [1 << 20, 1 << 20]
    path = write_kind("safetensors", tmp_path)
    content = path.read_bytes()
    liars = {
        "shape": rewritten(content, set_entry("fc.weight", "shape", huge)),
        "offsets": rewritten(content, set_entry("fc.weight", "data_offsets", [0, 1 << 40])),
        "dtype": rewritten(content, set_entry("fc.weight", "dtype", "F64")),
        "length": (1 << 40).to_bytes(8, "little") + content[8:],
    }
    sparse = write_kind("checkpoint", tmp_path).read_bytes()
    header = {"version": 1, "layers": {"fc": {"format": "csr", "weight_shape": [8, 1 << 40]}}}

    def set_header(found: dict[str, Any]) -> None:
        found["__metadata__"] = {"sparsecore": json.dumps(header)}

    liars["rows"] = rewritten(sparse, set_entry("fc.indptr", "shape", [1 << 40]))
    header["layers"]["fc"]["weight_shape"] = [1 << 40, 12]
    liars["layer"] = rewritten(sparse, set_header)
    bits = write_kind("bitmask", tmp_path).read_bytes()
    liars["bits"] = bits.replace((8).to_bytes(8, "little"), (1 << 40).to_bytes(8, "little"))
    for name, changed in liars.items():
        (tmp_path / f"bad-{name}.safetensors").write_bytes(changed)
    npz(tmp_path / "bad-member.npz", data=claims((1 << 40,)))
    plain = tmp_path / "plain.npz"
    np.savez_compressed(plain, w=np.zeros((64, 64)))
    lie = patched_sizes(plain.read_bytes(), b"w.npy", claimed=1 << 31)
    (tmp_path / "bad-inflated.npz").write_bytes(lie)
    found = converted(tmp_path)
    assert len(found) == len(liars) + 2
    check_refused(found, all_of_them=True)


def test_a_matrix_too_large_to_be_dense_is_one_line(tmp_path: Path) -> None:
    """Valid as CSR, and 8 TB as the array that was asked for."""
    empty = sc.CSR(([1.0], [5], [0, 1, 1]), (2, 1 << 39))
    sc.save_checkpoint(tmp_path / "bad.safetensors", {"fc.weight": empty})
    ((code, message, _, is_written),) = converted(tmp_path).values()
    assert (code, is_written) == (2, False)
    assert "not enough memory" in message
