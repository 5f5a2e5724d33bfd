"""Progress of a long command, one bar for each of its stages."""

from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

__all__ = ["Stages", "Tick"]

Tick: TypeAlias = Callable[[], None]
"""Says that one more part of a stage is done."""


class Stages:
    """Bars that are drawn when something was done, and never in between.

    A bar that redraws itself has a thread, which would disturb what the stage measures.

    Parameters
    ----------
    console : rich.console.Console
        Where a terminal is not to be drawn on, the finished stages are listed at the end.
    """

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,
        )

    def begin(self, title: str, parts: int) -> Tick:
        """Show a new stage, and return what is to be called after each of its parts."""
        task = self._progress.add_task(title, total=parts)
        self._progress.refresh()

        def tick() -> None:
            self._progress.advance(task)
            self._progress.refresh()

        return tick

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
        """Leave the bars as they are."""
        self._progress.stop()
