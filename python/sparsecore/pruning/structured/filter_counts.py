"""How many channels each group of layers keeps: what was asked for, as exact integers."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence

from sparsecore.pruning.allocation import checked_sparsity
from sparsecore.pruning.structured.channel_groups import ChannelGroup

__all__ = ["counts_by_name", "kept_of"]


def kept_of(group: ChannelGroup, sparsity: float) -> int:
    """Return how many channels a group of n keeps: the count nearest to ``n - round(sparsity n)``.

    Of the counts that it can have, multiples of the number of its classes; ties to the larger. At
    least one of each class is kept.
    """
    size, classes = len(group.channels), group.class_count
    kept = size - round(sparsity * size)
    return max(1, (2 * kept + classes) // (2 * classes)) * classes


def counts_by_name(
    caller: str,
    groups: Sequence[ChannelGroup],
    names: Sequence[Sequence[str]],
    sparsity: Mapping[str, float] | None,
    kept: Mapping[str, int] | None,
) -> dict[int, int]:
    """Return how many channels the groups keep that layers were named of, by their positions.

    Raises
    ------
    ValueError
        A name is of no layer that can be pruned, layers of one group are given different counts, or
        a count or share is out of range.
    """
    place = {name: i for i, of_group in enumerate(names) for name in of_group}
    found: dict[int, int] = {}
    for name in [*(sparsity or {}), *(kept or {})]:
        if name not in place:
            argument = "sparsity" if name in (sparsity or {}) else "kept"
            msg = f"{caller}: {argument} names {name!r}, expected layers among {', '.join(place)}"
            raise ValueError(msg)
        group = groups[place[name]]
        if kept is not None and name in kept:
            count = _checked_count(caller, name, group, kept[name])
        else:
            share = checked_sparsity((sparsity or {})[name], caller=f"{caller}: {name}")
            count = kept_of(group, share)
        if found.setdefault(place[name], count) != count:
            tied = ", ".join(names[place[name]])
            msg = (
                f"{caller}: {name!r} is to keep {count} filters, but it goes together with layers "
                f"that keep {found[place[name]]}: {tied}"
            )
            raise ValueError(msg)
    return found


def _checked_count(caller: str, name: str, group: ChannelGroup, kept: object) -> int:
    size, classes = len(group.channels), group.class_count
    try:
        count = operator.index(kept)  # type: ignore[arg-type]
    except TypeError:
        msg = f"{caller}: kept[{name!r}] is {kept!r}, expected an integer: how many filters to keep"
        raise TypeError(msg) from None
    if not 1 <= count <= size:
        msg = f"{caller}: kept[{name!r}] is {count}, expected 1 to {size}"
        raise ValueError(msg)
    if count % classes:
        below = count // classes * classes
        nearest = " or ".join(str(n) for n in (below, below + classes) if n)
        msg = (
            f"{caller}: kept[{name!r}] is {count}, but a convolution has groups that need the same "
            f"number of channels: expected a multiple of {classes}, such as {nearest}"
        )
        raise ValueError(msg)
    return count
