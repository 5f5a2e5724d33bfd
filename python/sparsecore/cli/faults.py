"""What is wrong with a request or a file, as one line and exit code 2."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from sparsecore.text_table import printable

__all__ = ["Fault", "one_line_faults"]


class Fault(click.ClickException):
    """A message on stderr, with no traceback."""

    exit_code = 2


@contextmanager
def one_line_faults() -> Iterator[None]:
    """Let what files and arguments raise end the command with one line."""
    try:
        yield
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        raise Fault(printable(" ".join(str(error).split()))) from error
    except MemoryError as error:
        raise Fault(f"not enough memory: {error}".rstrip(": ")) from error
