"""docs/distributed.md: what was measured, and what its model projects."""

from collections.abc import Iterator, Sequence
from typing import Any

from claims.claim import Claim, TableClaim
from claims.results import fixed, result, to
from claims.scripts import script

__all__ = ["CLAIMS"]

_PAGE, _RANKS = "docs/distributed.md", "distributed-epyc-2-cores"


def _projected() -> Iterator[Sequence[str]]:
    model = script("distributed", "model")
    for network in model.NETWORKS:
        for ranks in (4, 8, 64):
            seconds = (
                model.product_seconds(ranks, 10**6, 64, network),
                model.selection_seconds(ranks, network),
                model.gathering_seconds(ranks, 10**9, network),
            )
            times = [f"{float(f'{1e3 * value:.3g}'):g} ms" for value in seconds]
            yield [network.name, str(ranks), *times]


def _measured() -> list[str]:
    runs: list[dict[str, Any]] = list(result(_RANKS)["runs"])
    seconds = [run["seconds"] for run in runs]
    nbytes = [run["bytes"] for run in runs]
    assert [run["ranks"] for run in runs] == [1, 2, 3, 4]
    return [
        fixed(seconds[0]["selection"], 2),
        *to((found["selection"] for found in seconds[1:]), 2),
        fixed(nbytes[1]["selection"] / 1e3, 0),
        *to((found["gathered"] for found in seconds), 1),
        fixed(max(found["gathered"] for found in nbytes) / 1e6, 0),
        *(fixed(1e3 * found["product 64"], 0) for found in seconds),
    ]


CLAIMS = (
    TableClaim(
        _PAGE,
        (),
        "|network (assumed)|ranks|product of 10^6 rows, 64 columns of float32|selection among 10^9 "
        "scores|gathering these scores|",
        lambda: [*_projected()],
    ),
    Claim(
        _PAGE,
        (_RANKS,),
        "selection of a tenth of 16.8 million scores took {} s on 1 rank and {} to {} s on 2 to 4, "
        "with {} kB of traffic a rank, where gathering them took {} to {} s and up to {} MB; a "
        "product of 64 columns took {} ms on 1 rank and {}, {} and {} ms on 2, 3 and 4",
        _measured,
    ),
)
