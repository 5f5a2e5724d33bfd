"""Where each tensor of a checkpoint goes: a file for each block, and files for the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from sparsecore.files.complete import complete_or_absent
from sparsecore.files.tensor_reading import INDEX_SUFFIX, SUFFIX, TensorFiles
from sparsecore.files.tensor_writing import write_tensors
from sparsecore.interop import Array

__all__ = ["STEM", "index_path", "plan_shards", "write_index", "write_shard"]

STEM = "model"


def plan_shards(
    folder: Path, files: TensorFiles, blocks: Sequence[Sequence[str]]
) -> dict[Path, list[str]]:
    """Return the tensors of each file: first those of the blocks, one for each, then the rest.

    No file of the rest holds more bytes than the largest block, unless one tensor does.
    """
    sizes = {name: entry.nbytes for name, entry in files.entries.items()}
    limit = max(sum(sizes[name] for name in names) for names in blocks)
    in_blocks = {name for names in blocks for name in names}
    shards, room = [list(names) for names in blocks], 0
    for name in files.entries:
        if name in in_blocks:
            continue
        if sizes[name] > room:
            shards.append([])
            room = limit
        shards[-1].append(name)
        room -= sizes[name]
    count = len(shards)
    paths = [folder / f"{STEM}-{i:05}-of-{count:05}{SUFFIX}" for i in range(1, count + 1)]
    return dict(zip(paths, shards, strict=True))


def write_shard(path: Path, arrays: Mapping[str, Array], files: TensorFiles) -> None:
    """Write one file, with the metadata of the files that the tensors come from."""
    metadata = {k: v for texts in files.metadata.values() for k, v in texts.items()}
    write_tensors(path, arrays, metadata=lambda _names, _first: metadata)


def index_path(folder: Path) -> Path:
    """Return where the index goes, whose presence says that all is there."""
    return folder / f"{STEM}{INDEX_SUFFIX}"


def write_index(folder: Path, files: TensorFiles, shards: Mapping[Path, Sequence[str]]) -> None:
    """Write the index of all files."""
    total = sum(entry.nbytes for entry in files.entries.values())
    where = {name: path.name for path, names in shards.items() for name in names}
    content = {"metadata": {"total_size": total}, "weight_map": where}
    with complete_or_absent(index_path(folder)) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
