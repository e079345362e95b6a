"""Progress on stderr: a live line on a terminal, else plain lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Self, TypeVar

from lfv.cli.output import console, note, printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


T = TypeVar("T")


class Activity:
    """Progress of long work, shown while the context is open; `quiet` shows nothing.

    `show` sets the current activity, `count` its progress; both are thread-safe.
    """

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self._title = title
        self._quiet = quiet
        self._last_text = ""
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._quiet or not sys.stderr.isatty():
            return self
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[amount]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}", style="dim", markup=False),
            console=console(sys.stderr),
            transient=True,
        )
        self._progress.start()
        self._task = self._progress.add_task(self._title, total=None, amount="", text="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def show(self, text: str) -> None:
        """Show the current activity; repeated texts are shown once."""
        if self._quiet or text == self._last_text:
            return
        self._last_text = text
        if self._progress is None:
            note(f"{self._title}: {text}")
        elif self._task is not None:
            self._progress.update(self._task, text=printable(text))

    def count(self, done: int, total: int) -> None:
        """Update the bar, on a terminal."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total, amount=f"{done}/{total}")

    def count_items(self, items: Iterable[T], total: int) -> Iterator[T]:
        """Yield `items`, counting them."""
        for done, item in enumerate(items, start=1):
            self.count(done, total)
            yield item
