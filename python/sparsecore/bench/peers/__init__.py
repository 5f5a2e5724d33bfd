"""The other libraries: which of them are here, and why the others are not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from sparsecore.bench.arguments import PEERS, Options
from sparsecore.bench.comparison import Absent, Offers
from sparsecore.bench.operands import Product

__all__ = ["Peer", "Roster", "find_peers"]


@dataclass(frozen=True, slots=True)
class Peer:
    """A library: what it is, and its contenders for a product.

    `about` says what the library's own version number does not.
    """

    products: Callable[[Product], Offers]
    about: str


@dataclass(frozen=True, slots=True)
class Roster:
    """The peers that take part, by name, and why others do not."""

    present: Mapping[str, Peer]
    absent: Mapping[str, str]


def find_peers(options: Options) -> Roster:
    """Look for every peer that there could be."""
    present, absent = {}, {name: "not asked for" for name in PEERS if name not in options.peers}
    for name, find in _finders(options).items():
        try:
            present[name] = find()
        except Absent as reason:
            absent[name] = str(reason)
    return Roster(present, absent)


def _finders(options: Options) -> Mapping[str, Callable[[], Peer]]:
    from sparsecore.bench.peers import eigen, mkl_sparse, scipy_csr, shared_library, torch_peer

    finders: dict[str, Callable[[], Peer]] = {
        "scipy": scipy_csr.find,
        "torch": torch_peer.find,
        "mkl": mkl_sparse.find,
        "eigen": partial(eigen.find, options.target),
    }
    asked = {name: finders[name] for name in PEERS if name in options.peers}
    for path in options.libraries:
        asked[path.stem.removeprefix("lib")] = partial(shared_library.find, path)
    return asked
