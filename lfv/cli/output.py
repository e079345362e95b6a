"""Output of commands: results on stdout, as text or JSON, and everything else on stderr.

Without a terminal nothing is coloured, wrapped or truncated, so that grep and cut see whole lines.
All writing to stdout goes through here; if its reader has closed it, `OutputClosed` is raised.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO

from lfv.cli.errors import OutputClosed
from lfv.formats.words import escaped

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: Width without a terminal: enough for any table, so that nothing is wrapped.
_UNLIMITED = 4000

#: Narrower columns are not wrapped on a terminal.
_SHORT = 20

_STYLES = {"accept": "green", "reject": "red", "review": "yellow", "error": "magenta"}


def console(stream: TextIO | None = None) -> Console:
    """Return a Rich console for stdout (or `stream`), plain and wide without a terminal."""
    from rich.console import Console

    stream = stream or sys.stdout
    terminal = stream.isatty()
    return Console(
        file=stream,
        width=None if terminal else _UNLIMITED,
        color_system="auto" if terminal else None,
        highlight=False,
        emoji=False,
        markup=False,
    )


def show(*renderables: RenderableType) -> None:
    """Print each to stdout on separate lines. Text is never wrapped, coloured or truncated."""
    with _watch_stdout():
        for renderable in renderables:
            if isinstance(renderable, str):
                sys.stdout.write(_clean(renderable))
            else:
                out = console()
                # The terminal wraps longer lines, so that paths can be copied.
                out.width = max(out.width, out.measure(renderable).minimum)
                out.print(renderable, crop=False)
        sys.stdout.flush()


def show_json(value: object) -> None:
    """Print `value` to stdout as indented JSON, with keys in their order."""
    import orjson

    text = orjson.dumps(value, default=_plain, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z)
    with _watch_stdout():
        sys.stdout.write(text.decode() + "\n")
        sys.stdout.flush()


def write_bytes(write: Callable[[Any], object]) -> None:
    """Call `write` with the binary stream of stdout."""
    with _watch_stdout():
        sys.stdout.flush()
        write(sys.stdout.buffer)
        sys.stdout.buffer.flush()


def note(text: str) -> None:
    """Write one line of progress or a warning to stderr."""
    sys.stderr.write(f"{printable(text)}\n")
    sys.stderr.flush()


def table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()
) -> RenderableType:
    """Return a table: Rich's on a terminal, else lines with columns two or more blanks apart.

    `right` names the columns to align right. Cells that are verdicts are coloured.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    numeric = [name in right for name in columns]
    if not sys.stdout.isatty():
        return _align([list(columns), *cells], numeric)
    from rich import box
    from rich.table import Table
    from rich.text import Text

    result = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        header_style="bold",
        show_edge=False,
    )
    for number, (name, is_number) in enumerate(zip(columns, numeric, strict=True)):
        justify: Literal["left", "right"] = "right" if is_number else "left"
        widest = max(len(name), *(len(row[number]) for row in cells), 0)
        short = is_number or widest <= _SHORT
        result.add_column(
            name, justify=justify, overflow="fold", min_width=widest if short else _SHORT
        )
    for row in cells:
        result.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    return result


def show_table(
    columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()
) -> None:
    """Print a table to stdout; nothing if it has no rows."""
    if rows:
        show(table(columns, rows, right=right))


def facts(pairs: Mapping[str, object]) -> RenderableType:
    """Return names and values, one pair per line; None and empty values are left out."""
    shown = [
        [name, printable(value)]
        for name, value in pairs.items()
        if value is not None and value != ""
    ]
    if not sys.stdout.isatty():
        return _align(shown, [False, False])
    from rich.table import Table
    from rich.text import Text

    result = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    result.add_column(style="bold", no_wrap=True)
    result.add_column(overflow="fold")
    for name, text in shown:
        result.add_row(name, Text(text, style=_STYLES.get(text, "")))
    return result


def show_facts(pairs: Mapping[str, object]) -> None:
    """Print names and values to stdout."""
    show(facts(pairs))


def _align(rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> str:
    """Format rows as lines, each column as wide as its widest cell, without trailing blanks."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        padded = (
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(row, widths, numeric, strict=True)
        )
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def printable(value: object) -> str:
    """Return `value` as one line of text that is safe for a terminal: control characters, and those
    that change the writing direction, become escapes."""
    return "" if value is None else escaped(str(value))


def _clean(text: str) -> str:
    """Make each line of a text printable."""
    return "".join(f"{printable(line)}\n" for line in text.split("\n"))


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


@contextmanager
def _watch_stdout() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise OutputClosed from None
