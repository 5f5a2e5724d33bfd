"""Weights of equal verdicts, said once: their names, what was found, and what to do."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sparsecore.diagnosis.diagnosis import LayerDiagnosis
from sparsecore.diagnosis.verdict import Verdict
from sparsecore.diagnosis.words import printable

__all__ = ["Group", "groups", "is_plain", "shared_suffix"]

# Of these, each sentence has a number that no table has.
_EACH = ("wrong-axis", "shape", "below-break-even")
_NUMBER = re.compile(r"\d[\d,.]*(e[+-]?\d+)?( (ns|us|ms|s|B|kB|MB|GB|TB))?( x \d+)*")

_Key: TypeAlias = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Weights of which the same is said, but for numbers.

    Attributes
    ----------
    code : str
        Of their verdict.
    title : str
        How many they are, and their names.
    lines : tuple of str
        What was found, what to do, and what else was found.
    """

    code: str
    title: str
    lines: tuple[str, ...]


def is_plain(layer: LayerDiagnosis) -> bool:
    """Whether all that there is to say of a layer is that it has no zeros."""
    return layer.verdict.code == "no-zeros" and not layer.further


def shared_suffix(layers: Sequence[LayerDiagnosis]) -> str:
    """Return the last part that all names share, such as ".weight"; "" where they share none."""
    heads, suffixes = set(), set()
    for layer in layers:
        head, dot, tail = layer.name.rpartition(".")
        heads.add(head)
        suffixes.add(dot + tail)
    return suffixes.pop() if len(suffixes) == 1 and len(layers) > 1 and "" not in heads else ""


def groups(layers: Sequence[LayerDiagnosis]) -> tuple[Group, ...]:
    """Return all weights that have more to say than that they have no zeros, by what that is.

    Where sentences differ by numbers that a table of the weights has, that of the largest stands
    for all.
    """
    members: dict[_Key, list[LayerDiagnosis]] = {}
    for layer in layers:
        if not is_plain(layer):
            members.setdefault(_key(layer), []).append(layer)
    suffix = shared_suffix(layers)
    return tuple(_group(alike, suffix) for alike in members.values())


def _key(layer: LayerDiagnosis) -> _Key:
    """Return the codes and the words of all verdicts, without the numbers."""
    return tuple(
        (one.code, _NUMBER.sub("#", one.sentence), _NUMBER.sub("#", one.advice))
        for one in _verdicts(layer)
    )


def _verdicts(layer: LayerDiagnosis) -> tuple[Verdict, ...]:
    return (layer.verdict, *layer.further)


def _group(layers: Sequence[LayerDiagnosis], suffix: str) -> Group:
    names = [printable(layer.name.removesuffix(suffix)) for layer in layers]
    count = f"{len(names)} weights: " if len(names) > 1 else ""
    largest = max(range(len(layers)), key=lambda i: layers[i].facts.counts.size)
    lines: list[str] = []
    for place, alike in enumerate(zip(*map(_verdicts, layers), strict=True)):
        also = "also: " if place else ""
        lines.extend(f"{also}{words}" for words in _sentences(alike, names, largest))
        advices = {one.advice for one in alike}
        if len(advices) == 1 and advices != {""}:
            lines.append(f"to do: {advices.pop()}")
    return Group(layers[0].verdict.code, f"{count}{', '.join(names)}", tuple(map(printable, lines)))


def _sentences(verdicts: Sequence[Verdict], names: Sequence[str], largest: int) -> list[str]:
    """Return what is said of one finding of weights: once, of the largest, or of each."""
    is_one = len({verdict.advice for verdict in verdicts}) == 1
    words = [verdict.sentence if is_one else str(verdict) for verdict in verdicts]
    if len(set(words)) == 1:
        return words[:1]
    if verdicts[largest].code not in _EACH:
        return [f"{names[largest]}, the largest: {words[largest]}"]
    members: dict[str, list[str]] = {}
    for name, sentence in zip(names, words, strict=True):
        members.setdefault(sentence, []).append(name)
    return [f"{', '.join(alike)}: {sentence}" for sentence, alike in members.items()]
