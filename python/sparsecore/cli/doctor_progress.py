"""The progress of a diagnosis, on a terminal only."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from sparsecore.diagnosis.words import printable

__all__ = ["WeightProgress"]


class WeightProgress:
    """A bar on stderr that is gone when the work is done, and nothing where stderr is no terminal.

    It is drawn when a weight begins, and never in between: a thread would disturb measurements.
    """

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._progress = Progress(
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            auto_refresh=False,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None)

    def tell(self, done: int, total: int, name: str) -> None:
        """Show which weight is worked on."""
        self._progress.update(self._task, completed=done, total=total, description=printable(name))
        self._progress.refresh()

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self._progress.stop()
