"""What commands that read one file and write another have in common."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["check_apart", "check_unread", "writes_a_file"]

Command = TypeVar("Command", bound=Callable[..., Any])


def writes_a_file(command: Command) -> Command:
    """Add IN, OUT, --dry-run and --shard-bytes: `source`, `target`, `dry_run`, `shard_bytes`."""
    decorators = (
        click.argument("source", metavar="IN", type=click.Path(exists=True, path_type=Path)),
        click.argument("target", metavar="OUT", type=click.Path(dir_okay=False, path_type=Path)),
        click.option("--dry-run", is_flag=True, help="Print the table and write nothing."),
        click.option(
            "--shard-bytes",
            type=click.IntRange(1),
            help="Write several safetensors files of at most so many bytes of tensors, and an "
            "index. [default: as large as those of IN, where these are several]",
        ),
    )
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def check_apart(source: Path, target: Path, *, name: str = "IN") -> None:
    """Raise UsageError where a file that is read would be written, or OUT's folder is missing."""
    _check_folder(target)
    if target.exists() and target.samefile(source):
        msg = f"{name} and OUT are the same file, {source}"
        raise click.UsageError(msg)


def check_unread(target: Path, files: Iterable[Path]) -> None:
    """Raise UsageError where `target` is one of the files that are read, or has no folder."""
    _check_folder(target)
    for file in files:
        if target.exists() and file.exists() and target.samefile(file):
            msg = f"{target} would be written over, but is read; choose another name"
            raise click.UsageError(msg)


def _check_folder(target: Path) -> None:
    if not target.parent.is_dir():
        msg = f"the folder of {target} does not exist"
        raise click.UsageError(msg)
