"""Files that appear under their names only when they are complete."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["complete_or_absent"]


@contextmanager
def complete_or_absent(path: Path) -> Iterator[Path]:
    """Yield a name beside `path`; the file written there takes its place when all went well.

    A failure leaves what was there before, and nothing else. Where `path` is a symbolic link, the
    link is replaced: what it points to may be others', and stays.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
