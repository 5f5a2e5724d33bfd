"""What TensorRT's build log says of sparsity."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BuildLog", "nodes_of", "parse_build_log", "read_build_log"]


# TensorRT 8, from the Developer Guide:
#   [03/23/2021-00:14:05] [I] [TRT] (Sparsity) Layers eligible for sparse math: conv1, conv2
#   [03/23/2021-00:14:05] [I] [TRT] (Sparsity) TRT inference plan picked sparse implementation for
#   layers: conv2
# TensorRT 10, as public logs have it, the names only where it is verbose:
#   [I] [TRT] (Sparsity) Found 2 layer(s) eligible to use sparse tactics: conv1, conv2
#   [I] [TRT] (Sparsity) Chose 1 layer(s) using sparse tactics: conv2
def _pattern(old: str, new: str) -> re.Pattern[str]:
    """Match one of two messages, their words perhaps on several lines."""
    either = rf"\(Sparsity\) (?:{old}|{new})".replace(" ", r"\s*")
    return re.compile(rf"{either}(?P<names>.*)")


_ELIGIBLE = _pattern(
    r"Layers eligible for sparse math",
    r"Found (?P<count>\d+) layer\(s\) eligible to use sparse tactics",
)
_PICKED = _pattern(
    r"TRT inference plan picked sparse implementation for layers",
    r"Chose (?P<count>\d+) layer\(s\) using sparse tactics",
)
# What a message begins with: a time or a level in brackets, onnxruntime's time, trtexec's banners.
_BEGINS = re.compile(r"\s*(?:\[|\d{4}-\d\d-\d\d[ T]|&&&&|===)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FUSED = re.compile(r"\s*(?:\+|\|\|)\s*")
_POINTWISE = re.compile(r"^PWN\((.*)\)$")


@dataclass(frozen=True, slots=True)
class BuildLog:
    """The layers that TensorRT found eligible, and those that it took a sparse kernel for.

    Attributes
    ----------
    eligible, picked : tuple of str, or None
        Names as the log has them, of fused layers "conv1 + relu1"; None where it has none.
    eligible_count, picked_count : int or None
        How many; None where the log does not say.
    """

    eligible: tuple[str, ...] | None
    picked: tuple[str, ...] | None
    eligible_count: int | None
    picked_count: int | None

    @property
    def not_picked(self) -> tuple[str, ...] | None:
        """Eligible layers for which a dense kernel was the faster one; None without names."""
        if self.eligible is None or self.picked is None:
            return None
        picked = set(self.picked)
        return tuple(name for name in self.eligible if name not in picked)


def read_build_log(path: str | os.PathLike[str]) -> BuildLog:
    """Read the log of a TensorRT build, as ``trtexec --sparsity=enable --verbose`` writes it.

    Raises
    ------
    ValueError
        If no line of it is about sparsity; names the file.
    OSError
        If it cannot be read.
    """
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as lines:
            return _parsed(lines)
    except ValueError as error:
        msg = f"{path}: {error}"
        raise ValueError(msg) from None


def parse_build_log(text: str) -> BuildLog:
    """Return what a log says of sparsity; of several builds or passes what the last one says.

    Parameters
    ----------
    text : str
        Messages that a terminal has wrapped are put together again.

    Raises
    ------
    ValueError
        If no line is about sparsity.

    References
    ----------
    NVIDIA TensorRT Developer Guide, "Structured Sparsity", has the lines of TensorRT 8; those of 10
    are in public logs.

    Examples
    --------
    >>> log = parse_build_log("[I] [TRT] (Sparsity) Layers eligible for sparse math: a, b + c")
    >>> log.eligible, log.picked
    (('a', 'b + c'), None)
    """
    return _parsed(text.splitlines())


def nodes_of(logged: str) -> tuple[str, ...]:
    """Return the nodes that a layer of an engine stands for.

    Examples
    --------
    >>> nodes_of("conv1 + PWN(relu1)"), nodes_of("query || key")
    (('conv1', 'relu1'), ('query', 'key'))
    """
    return tuple(_POINTWISE.sub(r"\1", part) for part in _FUSED.split(logged.strip()) if part)


def _parsed(lines: Iterable[str]) -> BuildLog:
    eligible = picked = None
    for message in _messages(lines):
        eligible = _ELIGIBLE.search(message) or eligible
        picked = _PICKED.search(message) or picked
    if eligible is None and picked is None:
        msg = (
            "no line of it is about sparsity, such as '(Sparsity) Layers eligible for sparse math: "
            "...': build with trtexec --sparsity=enable --verbose"
        )
        raise ValueError(msg)
    (of_eligible, count), (of_picked, picked_count) = _names(eligible), _names(picked)
    return BuildLog(of_eligible, of_picked, count, picked_count)


def _messages(lines: Iterable[str]) -> list[str]:
    """Return the messages about sparsity, each in one line."""
    found: list[list[str]] = []
    is_open = False
    for coloured in lines:
        line = _COLOUR.sub("", coloured.rstrip("\r\n"))
        if "(Sparsity)" in line:
            found.append([line])
            is_open = True
        elif is_open and line.strip() and not _BEGINS.match(line):
            # A terminal breaks anywhere, an editor behind a comma.
            ends = found[-1][-1].endswith((",", "+", "||"))
            found[-1].append(f" {line.lstrip()}" if ends else line)
        else:
            is_open = False
    return ["".join(parts) for parts in found]


def _names(found: re.Match[str] | None) -> tuple[tuple[str, ...] | None, int | None]:
    if found is None:
        return None, None
    listed = found["names"].partition(":")[2]
    names = tuple(name.strip() for name in re.split(r",\s+|,$", listed) if name.strip())
    counted = None if found["count"] is None else int(found["count"])
    if counted is not None and counted != len(names):
        return None, counted
    return names, len(names)
