"""What contenders hold of the weights of a 2:4 product, in bytes, and what a call takes besides."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from sparsecore.bench import table
from sparsecore.bench.report import Row, labels
from sparsecore.formats import Sparse24

__all__ = ["DENSE", "WORKSPACE", "lines", "of_ours", "of_torchs", "workspace"]

DENSE, WORKSPACE = "dense", "workspace"
# Attributes of torch's own 2:4 tensors, those of the transpose included.
_TORCHS = ("packed", "meta", "packed_t", "meta_t", "compressed_swizzled_bitmask")


def of_ours(S: Sparse24, kernel: str) -> dict[str, int]:
    """Return the bytes of a matrix and of the form of it that a kernel reads.

    Parameters
    ----------
    S : Sparse24
        On a device, multiplied by the kernel before.
    kernel : str
        One of `sparsecore.cuda.kernels24.KERNELS`.

    Examples
    --------
    >>> import torch
    >>> import sparsecore as sc
    >>> from sparsecore.bench.gpu import memory
    >>> S = sc.Sparse24.from_dense(torch.eye(64, dtype=torch.float16))
    >>> memory.of_ours(S, "canonical")
    {'values': 4096, 'metadata': 512}
    """
    held = {"values": S.values.nbytes, "metadata": S.metadata.nbytes}
    kept = None if kernel == "canonical" else S._structure.kept.get(kernel)
    return held if kept is None else held | {"packed": int(kept.form.nbytes)}


def of_torchs(stored: Any) -> dict[str, int]:
    """Return the bytes of the parts of a tensor of torch's own 2:4, by torch's names."""
    parts = {name: getattr(stored, name, None) for name in _TORCHS}
    return {name: part.nbytes for name, part in parts.items() if part is not None}


def workspace(call: Callable[[], object]) -> int:
    """Return the bytes that a call takes from torch's allocator and gives back when it is done.

    What libraries keep from call to call is not among them, nor the result.
    """
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    result = call()
    peak, after = torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()
    del result
    return peak - max(before, after)


def lines(rows: Sequence[Mapping[str, Any]], common: Row) -> Iterator[str]:
    """Yield a table of weights, as rows with ``"bytes"`` of contenders have them; or nothing.

    A cell is megabytes, how much that is of the dense matrix, and the workspace where there is any.

    Parameters
    ----------
    rows : sequence of mapping
        What `sparsecore.bench.report.row` returns, with bytes by what they are.
    common : mapping
        Labels that are not repeated in each row.
    """
    names = list(
        dict.fromkeys(
            name for row in rows for name, found in row["contenders"].items() if "bytes" in found
        )
    )
    if not names:
        return
    keys = [key for key in labels(rows[0]) if key not in common]
    yield "Weights in MB (of dense), and what a call takes besides"
    yield ""
    yield table.line([*keys, *names])
    yield table.line(["---"] * (len(keys) + len(names)))
    for row in rows:
        cells = [_cell(row["contenders"], name) for name in names]
        yield table.line([*(str(row[key]) for key in keys), *cells])


def _cell(contenders: Mapping[str, Any], name: str) -> str:
    known = {other: found["bytes"] for other, found in contenders.items() if "bytes" in found}
    if name not in known:
        return ""
    dense = next(found[DENSE] for found in known.values() if DENSE in found)
    besides = known[name].get(WORKSPACE, 0)
    total = sum(known[name].values()) - besides
    shown = f"{total / 1e6:.3g} ({total / dense:.2f})"
    return f"{shown}, {besides / 1e6:.3g} besides" if besides else shown
