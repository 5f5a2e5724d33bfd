"""Weights written to an npz archive: one matrix as scipy's, several as numpy's dense arrays."""

import zipfile
from pathlib import Path, PureWindowsPath

import numpy as np

from sparsecore import io
from sparsecore.files.complete import complete_or_absent
from sparsecore.formats import CSR
from sparsecore.weight_files.entry import Entry
from sparsecore.weight_files.plan import Outcome, Plan, bytes_text, unchanged
from sparsecore.weight_files.weights import WeightFiles

__all__ = ["plan_matrix", "plan_npz"]


def plan_npz(weights: WeightFiles, target: Path) -> Plan:
    """Plan a csr matrix that scipy reads, where there is one weight of two axes; else dense arrays.

    Raises
    ------
    TypeError
        Where numpy itself does not have a weight's dtype: bfloat16 and float8.
    ValueError
        Where a name would lead out of the folder into which somebody unpacks the archive.
    """
    first = next(iter(weights.values()), None)
    if first is not None and len(weights) == 1 and len(first.shape) == 2:
        return plan_matrix(weights, target)
    for entry in weights.values():
        if weights.numpy_dtype(entry.name).type.__module__ != "numpy":
            msg = f"{entry.name!r} has dtype {entry.dtype}, which npz cannot hold"
            raise TypeError(msg)
        place = PureWindowsPath(entry.name)  # whose separators are those of other systems, too
        if place.anchor or ".." in place.parts:
            msg = f"{entry.name!r} would be a member of {target.name} that lies outside of it"
            raise ValueError(msg)
    outcomes = [unchanged(e, weights.dense_bytes(e.name)) for e in weights.values()]

    def write() -> str:
        with complete_or_absent(target) as temporary:
            _write_arrays(temporary, weights)
        return bytes_text([target])

    return Plan(outcomes, write, ("the arrays are dense, deflated in the archive",))


def _write_arrays(path: Path, weights: WeightFiles) -> None:
    """Write an archive array by array; numpy.savez_compressed would take all at once."""
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
        for name in weights:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, weights.dense(name), allow_pickle=False)


def plan_matrix(weights: WeightFiles, target: Path) -> Plan:
    """Plan the file of one matrix that `sparsecore.load` reads, by the ending of its name."""
    (entry,) = weights.values()

    def write() -> str:
        weight = weights.read(entry.name)
        io.save(target, CSR.from_dense(weight) if isinstance(weight, np.ndarray) else weight)
        return bytes_text([target])

    return Plan([_of_matrix(weights, entry)], write)


def _of_matrix(weights: WeightFiles, entry: Entry) -> Outcome:
    weight = weights.read(entry.name)
    matrix = CSR.from_dense(weight) if isinstance(weight, np.ndarray) else weight
    size = matrix.storage()
    stored = "csr" if isinstance(matrix, CSR) else "2:4"
    why = f"{size.ratio:.3g} of the dense bytes"
    sparsity = float(matrix.sparsity)
    return Outcome(entry.name, entry.shape, sparsity, stored, entry.nbytes, size.total, why)
