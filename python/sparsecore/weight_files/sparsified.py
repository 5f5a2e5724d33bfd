"""A weight in the format that takes the fewest bytes, and why."""

import numpy as np

from sparsecore.files.bitmask import Weight, is_24
from sparsecore.formats import CSR, Sparse24
from sparsecore.interop import VALUE_DTYPES, Array
from sparsecore.weight_files.plan import Outcome

__all__ = ["Weight", "sparsified"]

_STORED = {"sparse24": "2:4"}


def sparsified(name: str, weight: Array) -> tuple[Weight, Outcome]:
    """Make a weight sparse where that is smaller.

    Parameters
    ----------
    name : str
    weight : (m, k) array, or (m, c, h, w) of a convolution, which becomes a matrix (m, c h w)
        Of any dtype; those that have no kernel stay dense.

    Returns
    -------
    weight, outcome
        The smallest of dense, CSR and, where it is that, 2:4, by `storage()`.

    Examples
    --------
    >>> import numpy as np
    >>> weight, outcome = sparsified("fc.weight", np.eye(64, dtype=np.float32))
    >>> weight.format, outcome.before, outcome.after
    ('csr', 16384, 385)
    """
    matrix = weight.reshape(weight.shape[0], -1) if weight.size else weight
    zeros = weight.size - int(np.count_nonzero(matrix))
    sparsity = zeros / max(weight.size, 1)

    def stays(why: str) -> tuple[Weight, Outcome]:
        nbytes = weight.nbytes
        return weight, Outcome(name, weight.shape, sparsity, "dense", nbytes, nbytes, why)

    if weight.dtype not in VALUE_DTYPES.values():
        return stays(f"{weight.dtype} has no kernel")
    if not zeros:
        return stays("it has no zeros")
    candidates: list[CSR | Sparse24] = [CSR.from_dense(matrix)]
    if weight.ndim == 2 and is_24(matrix):
        candidates.append(Sparse24.from_dense(matrix))
    best = min(candidates, key=lambda A: A.storage().total)
    size, stored = best.storage(), _STORED.get(best.format, best.format)
    why = f"{size.ratio:.3g} of the dense bytes"
    if size.total >= weight.nbytes:
        return stays(f"{stored} would be {why}")
    shape, before = weight.shape, weight.nbytes
    return best, Outcome(name, shape, sparsity, stored, before, size.total, why)
