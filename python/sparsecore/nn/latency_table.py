"""What each layer takes dense, and sparse by how many weights it keeps: values, and their JSON."""

import itertools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["LatencyTable", "LayerTimes"]


@dataclass(frozen=True, slots=True)
class LayerTimes:
    """One layer's median seconds in one run of the model.

    Attributes
    ----------
    name : str
        As in ``model.named_modules()``.
    size : int
        Number of weights.
    dense : float
        Of the dense layer.
    csr : tuple of (int, float)
        Kept counts, rising, and the seconds of the CSR layer that keeps so many.
    """

    name: str
    size: int
    dense: float
    csr: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        """Raise ValueError unless counts rise from 0 to the size, and times are finite."""
        counts = [-1, *(count for count, _ in self.csr)]
        if counts[-1] > self.size or any(b <= a for a, b in itertools.pairwise(counts)):
            msg = (
                f"LayerTimes: csr of {self.name!r} has the kept counts {counts[1:]}, expected "
                f"rising ones of 0 to the size, {self.size}"
            )
            raise ValueError(msg)
        times = [self.dense, *(seconds for _, seconds in self.csr)]
        if not all(math.isfinite(seconds) and seconds >= 0 for seconds in times):
            msg = (
                f"LayerTimes: {self.name!r} has the times {times}, expected finite ones, 0 or more"
            )
            raise ValueError(msg)

    def fastest(self) -> list[tuple[int, float]]:
        """Return kept counts, rising to the size, and the seconds of the faster form with each.

        Where CSR, interpolated between two measured counts, becomes slower than dense, the last
        count before that is among them.

        Examples
        --------
        >>> LayerTimes("fc", 100, 3.0, ((10, 1.0), (50, 5.0))).fastest()
        [(10, 1.0), (30, 3.0), (50, 3.0), (100, 3.0)]
        """
        points: list[tuple[int, float]] = []
        for count, seconds in self.csr:
            if points and (points[-1][1] < self.dense) and seconds > self.dense:
                before, least = points[-1]
                part = (self.dense - least) / (seconds - least)
                crossing = before + math.floor(part * (count - before))
                if before < crossing < count:
                    slope = (seconds - least) / (count - before)
                    points.append((crossing, least + slope * (crossing - before)))
            points.append((count, min(seconds, self.dense)))
        if not points or points[-1][0] < self.size:
            points.append((self.size, self.dense))
        return points


@dataclass(frozen=True, slots=True)
class LatencyTable:
    """What :func:`sparsecore.nn.measure_layers` measured.

    Attributes
    ----------
    layers : tuple of LayerTimes
    skipped : mapping of str to str
        The linear layers and convolutions that cannot run sparse, and why.

    Examples
    --------
    >>> table = LatencyTable((LayerTimes("fc", 100, 3.0, ((10, 1.0), (50, 2.0))),), {})
    >>> table.times()
    {'fc.weight': [(10, 1.0), (50, 2.0), (100, 3.0)]}
    >>> LatencyTable.from_json(table.to_json()) == table
    True
    """

    layers: tuple[LayerTimes, ...]
    skipped: Mapping[str, str]

    @property
    def dense_seconds(self) -> float:
        """What the measured layers take together, all of them dense."""
        return math.fsum(layer.dense for layer in self.layers)

    @property
    def least_seconds(self) -> float:
        """What they take at the least, all as sparse as measured: no smaller budget can be met."""
        return math.fsum(min(seconds for _, seconds in layer.fastest()) for layer in self.layers)

    def times(self) -> dict[str, list[tuple[int, float]]]:
        """Return for each weight, by its parameter name, counts and seconds of the faster form.

        As ``sparsecore.pruning.allocation.latency`` takes them.
        """
        return {f"{layer.name}.weight": layer.fastest() for layer in self.layers}

    def to_json(self) -> str:
        """Return a JSON object."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "LatencyTable":
        """Read what `to_json` returned.

        Raises
        ------
        ValueError
            If the text is something else.
        """
        try:
            content = json.loads(text)
            layers = tuple(_layers(content["layers"]))
            skipped = {str(name): str(why) for name, why in content["skipped"].items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            msg = f"LatencyTable.from_json: text is no table that to_json wrote: {error}"
            raise ValueError(msg) from error
        return cls(layers, skipped)


def _layers(entries: Iterable[Mapping[str, Any]]) -> Iterable[LayerTimes]:
    for entry in entries:
        csr = tuple((int(count), float(seconds)) for count, seconds in entry["csr"])
        yield LayerTimes(str(entry["name"]), int(entry["size"]), float(entry["dense"]), csr)
