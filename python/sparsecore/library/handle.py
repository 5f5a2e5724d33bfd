"""What a matrix or plan holds so that compiled graphs can name it.

A graph has tensors and numbers for arguments, and a validated structure is neither. So each one
that is made of tensors gets a number in a 0-d tensor, its token, and whoever is handed the token
finds the structure in a table of those that are alive. (A number in the graph itself would be
compiled in: a graph for each of a model's layers, where one serves all that are alike.)

Numbers begin at a random one: a token that a file brought into another process finds nothing there.
"""

import itertools
import random
import sys
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from sparsecore import interop
from sparsecore.interop import Values

_living: "WeakValueDictionary[int, Any]" = WeakValueDictionary()
_numbers = itertools.count(random.SystemRandom().getrandbits(62))


@dataclass(frozen=True, slots=True)
class Handle:
    """A structure's, or a plan's.

    Attributes
    ----------
    token : int64 tensor without dimensions
    sizes : tuple of int
        Rows, columns, and the shape of the values.
    """

    token: Any
    sizes: tuple[int, ...]

    def changed(self) -> None:
        """Make backward passes of earlier products refuse to run, as for edited tensors."""
        torch = interop.import_torch()
        with torch.no_grad():
            self.token.add_(0)


def handle_of(thing: Any, sizes: tuple[int, ...], *, like: Values) -> Handle | None:
    """Return a handle of something weakly referable; None where `like`, its values, are numpy's."""
    if not interop.is_tensor(like):
        return None
    if "sparsecore.library.calls" not in sys.modules:
        interop.meet_torch()  # now, not while a call is traced
    number = next(_numbers)
    _living[number] = thing
    torch = interop.import_torch()
    if not torch.is_inference_mode_enabled():
        return Handle(torch.tensor(number, device="cpu"), sizes)
    with torch.inference_mode(mode=False):  # which autograd could not save
        return Handle(torch.tensor(number, device="cpu"), sizes)


def living(number: int) -> Any:
    """Return what has this number.

    Raises
    ------
    RuntimeError
        Where it is gone, or was another process's.
    """
    found = _living.get(number)
    if found is None:
        msg = (
            "sparsecore: the matrix that a graph was made with is not there any more, or was "
            "another process's; export sparsecore.nn's layers, whose tensors go with the program"
        )
        raise RuntimeError(msg)
    return found
