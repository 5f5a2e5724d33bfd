"""What exchanging costs by bytes and messages: the model behind every figure marked as projected.

A message takes `latency + bytes / bandwidth`; each rank sends and receives at the full bandwidth at
once. gloo's all-gather is a ring of P - 1 steps, its all-reduce one of 2 (P - 1).
"""

from dataclasses import dataclass

from sparsecore.pruning.distributed_selection import selection_traffic

# Of the agreements on arguments: integers of 8 bytes a rank, one of them the flag of failure.
_PRODUCT_AGREEMENT = 32
_SELECTION_AGREEMENT = 40


@dataclass(frozen=True, slots=True)
class Network:
    """Seconds to the first byte of a message, and bytes a second after it."""

    name: str
    latency: float
    bandwidth: float


# Assumed, not measured: what data sheets of such networks and TCP's usual latencies allow.
NETWORKS = (
    Network("10 Gbit/s, 50 us", 50e-6, 1.25e9),
    Network("100 Gbit/s, 10 us", 10e-6, 12.5e9),
)


def all_gather_seconds(ranks: int, nbytes: float, network: Network) -> float:
    """Return the time of an all-gather of `nbytes` from each rank."""
    return (ranks - 1) * (network.latency + nbytes / network.bandwidth)


def all_reduce_seconds(ranks: int, nbytes: float, network: Network) -> float:
    """Return the time of an all-reduce of `nbytes`."""
    return 2 * (ranks - 1) * (network.latency + nbytes / ranks / network.bandwidth)


def product_seconds(
    ranks: int, rows: int, columns: int, network: Network, *, itemsize: int = 4
) -> float:
    """Return the time a sharded product exchanges for: the agreement, then all blocks at once.

    Blocks are taken to be of equal size; where they are not, the largest block counts for all.
    """
    others = (ranks - 1) * rows / ranks * columns * itemsize
    agreement = all_gather_seconds(ranks, _PRODUCT_AGREEMENT, network)
    return agreement + (network.latency + others / network.bandwidth if ranks > 1 else 0.0)


def selection_seconds(ranks: int, network: Network, *, itemsize: int = 4, layers: int = 1) -> float:
    """Return the time a selection exchanges for; the number of scores has no part in it."""
    traffic = selection_traffic(itemsize, layers=layers)
    counts = (traffic.all_reduced - traffic.all_gathered) / traffic.passes
    return (
        all_gather_seconds(ranks, _SELECTION_AGREEMENT, network)
        + all_reduce_seconds(ranks, 8 * layers, network)
        + traffic.passes * all_reduce_seconds(ranks, counts, network)
        + all_gather_seconds(ranks, traffic.all_gathered, network)
    )


def gathering_seconds(ranks: int, scores: int, network: Network, *, itemsize: int = 4) -> float:
    """Return the time of giving all scores to every rank, which a selection replaces."""
    return all_gather_seconds(ranks, scores / ranks * itemsize, network)


def projection(rows: int, columns: int, scores: int, ranks: tuple[int, ...]) -> str:
    """Return a Markdown table of exchange times, all of them projected."""
    lines = [
        f"| network (assumed) | ranks | product of {rows} rows, {columns} columns "
        f"| selection among {scores:.1e} scores | gathering these scores |",
        "|---|---|---|---|---|",
    ]
    for network in NETWORKS:
        for count in ranks:
            seconds = (
                product_seconds(count, rows, columns, network),
                selection_seconds(count, network),
                gathering_seconds(count, scores, network),
            )
            cells = " | ".join(f"{1e3 * s:.3g} ms" for s in seconds)
            lines.append(f"| {network.name} | {count} | {cells} |")
    return "\n".join(lines)
