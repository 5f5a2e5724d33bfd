"""Fields of a JSON object that a file holds: each is what it should be, or the ValueError says."""

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["Fields"]

_LARGEST = 2**63 - 1


class Fields:
    """An object of a file; `place` names it in messages.

    Keys besides the `known` ones are refused, where these are given.
    """

    def __init__(self, content: object, place: str, known: tuple[str, ...] | None = None) -> None:
        self._place = place
        self._content: Mapping[str, Any] = content if isinstance(content, dict) else {}
        if not isinstance(content, dict):
            msg = f"{place} is {content!r:.80}, expected an object"
            raise ValueError(msg)
        if known is not None and (unknown := sorted(content.keys() - set(known))):
            msg = f"{place} has the unknown key {unknown[0]!r:.80}, expected {', '.join(known)}"
            raise ValueError(msg)

    def __contains__(self, key: str) -> bool:
        """Whether there is a field of this name."""
        return key in self._content

    def get(self, key: str, default: object = None) -> Any:
        """Return a field as it is."""
        return self._content.get(key, default)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """Return a field that is an object; an empty one where it is missing."""
        value = self.get(key, {})
        if not isinstance(value, dict):
            raise self._fault(key, value, "an object")
        return value

    def array(self, key: str) -> list[Any]:
        """Return a field that is an array; an empty one where it is missing."""
        value = self.get(key, [])
        if not isinstance(value, list):
            raise self._fault(key, value, "an array")
        return value

    def natural(self, key: str) -> int:
        """Return a field that is a natural number of 63 bits."""
        value = self.get(key)
        if not _is_natural(value):
            raise self._fault(key, value, "a natural number")
        return int(value)

    def number(self, key: str) -> float:
        """Return a field that is a finite number of at least 0."""
        value = self.get(key)
        if not _is_number(value):
            raise self._fault(key, value, "a finite number of at least 0")
        return float(value)

    def number_or_none(self, key: str) -> float | None:
        """Return a field that is such a number; None where it is null or missing."""
        return None if self.get(key) is None else self.number(key)

    def objects(self, key: str) -> "list[Fields]":
        """Return the fields of each object of an array."""
        items = enumerate(self.array(key))
        return [Fields(item, f"{self._place}: {key}[{i}]") for i, item in items]

    def within(self, key: str) -> "Fields":
        """Return the fields of a field that is an object; none where it is missing."""
        return Fields(self.mapping(key), f"{self._place}: {key}")

    def naturals(self, key: str, lengths: tuple[int, ...]) -> tuple[int, ...]:
        """Return a field that is an array of natural numbers, as many as one of `lengths`."""
        value = self.array(key)
        if len(value) not in lengths or not all(map(_is_natural, value)):
            counts = " or ".join(map(str, lengths))
            raise self._fault(key, value, f"{counts} natural numbers")
        return tuple(value)

    def text(self, value: object, what: str) -> str:
        """Return `value`, a text of the object."""
        if not isinstance(value, str):
            raise self._fault(what, value, "a text")
        return value

    def flag(self, value: object, what: str) -> bool:
        """Return `value`, true or false."""
        if not isinstance(value, bool):
            raise self._fault(what, value, "true or false")
        return value

    def one_of(self, value: object, what: str, allowed: tuple[str | None, ...]) -> Any:
        """Return `value`, one of those allowed."""
        if (value is not None and not isinstance(value, str)) or value not in allowed:
            raise self._fault(what, value, f"one of {', '.join(map(repr, allowed))}")
        return value

    def _fault(self, what: str, value: object, expected: str) -> ValueError:
        return ValueError(f"{self._place}: {what} is {value!r:.80}, expected {expected}")


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= _LARGEST and math.isfinite(value)


def _is_natural(value: object) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST
