"""The interface of a dialect, and what both databases share."""

# ruff: noqa: S608 -- names in SQL text are constants of this package, values are parameters

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection

from lfv_store.errors import StoreError
from lfv_store.records.inspections import ImageFacts

#: Returns the next n rows of a result.
Fetch = Callable[[int], list[Any]]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to insert: their canonical cells (integers, floats, text), and each as a JSON array."""

    table: str
    columns: Sequence[str]
    cells: Sequence[Sequence[Any]]
    lines: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Masks:
    """Masks to insert: (detection id, PNG)."""

    cells: Sequence[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Deletion:
    """Rows to delete: `key` is one of the values, and other columns are `equal`."""

    table: str
    key: str
    values: Sequence[Any]
    equal: Mapping[str, int]


Write = Rows | Masks | Deletion


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch of inspections refers to.

    `images` are pairs of a line and its image; `detections` are ids.
    """

    run_id: str
    lines: Sequence[int]
    images: Sequence[tuple[int, ImageFacts]]
    detections: Sequence[int]


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """What a batch refers to, read after its run is locked and its images are stored.

    `lines` are already recorded. `images` maps the SHA-256 of stored images to their ids; `added`
    are those stored by this change. Images of recorded lines only are not stored. `detections` maps
    detections to images.
    """

    run: int
    change: int
    now: datetime
    lines: Collection[int]
    images: Mapping[str, int]
    added: Collection[str]
    detections: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class EntryFields:
    """An audit entry without its position in the chain; `at` and `content` are text."""

    change: int
    at: str
    actor: str
    action: str
    subject: str
    content: str


class Dialect(ABC):
    """A kind of database. Table and column names are always the store's, never from input."""

    name: ClassVar[str]
    #: Whether write transactions run in parallel, so that rows must be locked.
    many_writers: ClassVar[bool]

    #: This database's SQL for the placeholders in lfv_store/views/.
    view_words: ClassVar[Mapping[str, str]]

    #: The triggers that keep a table append-only: names and bodies, with {table}.
    append_only_triggers: ClassVar[Mapping[str, str]]

    #: Execution options of a write transaction.
    write_options: ClassVar[Mapping[str, Any]]

    # Connections and transactions

    @abstractmethod
    def create_engine(self, url: URL, options: Mapping[str, Any]) -> sa.Engine:
        """Return an engine whose connections are set up for the store."""

    @abstractmethod
    def check(self, conn: Connection, name: str) -> None:
        """Raise StoreError if the store cannot use the database, even an empty one."""

    @abstractmethod
    def snapshot_options(self, *, read_only: bool) -> Mapping[str, Any]:
        """Return execution options for a transaction that sees one snapshot."""

    @abstractmethod
    def begin_write(self, conn: Connection) -> None:
        """Start a write transaction on a connection that has the `write_options`."""

    @abstractmethod
    def begin_migration(self, conn: Connection, views: Collection[str]) -> None:
        """Set up a write transaction that changes tables under `views`; one at a time."""

    @abstractmethod
    def end_migration(self, conn: Connection) -> None:
        """Make the checks that begin_migration() deferred."""

    @abstractmethod
    def now(self, conn: Connection) -> datetime:
        """Return the time, by one clock for all users of the database."""

    @abstractmethod
    def error(self, error: BaseException, *, lost: bool, name: str) -> StoreError | None:
        """Translate an error of this dialect's driver; None for other errors.

        `lost`: the connection broke. `name` is the database's name in messages.
        """

    # Writing

    @abstractmethod
    def disable_guard(self, conn: Connection, table: str) -> AbstractContextManager[None]:
        """Allow the block to delete rows of an append-only table. Requires owning the tables."""

    @abstractmethod
    def compact(self, url: URL) -> tuple[int, int] | None:
        """Return the file's free space to the disk, and its sizes before and after."""

    @abstractmethod
    def lock(self, conn: Connection, key: int) -> None:
        """Take one of the store's locks until the transaction ends."""

    @abstractmethod
    def lock_run(self, conn: Connection, run_id: str) -> int | None:
        """Lock a run until the transaction ends and return its id; others may still refer to it."""

    @abstractmethod
    def next_change(self, conn: Connection) -> int:
        """Return a number for a change, larger than those of all committed changes."""

    @abstractmethod
    def insert(
        self, conn: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Insert rows of canonical cells: integers, floats, text and bytes."""

    @abstractmethod
    def begin_batch(
        self, conn: Connection, batch: Batch, *, span: int, begin: bool
    ) -> BatchFacts | None:
        """Lock the run, store new images, and look up what the batch refers to.

        Images are inserted in order of their SHA-256, so that writers with the same images cannot
        deadlock. The first new one gets the id change * `span`. `begin` also starts the write
        transaction. Returns None if the run is unknown.
        """

    @abstractmethod
    def write(self, conn: Connection, writes: Sequence[Write]) -> None:
        """Execute writes in order."""

    @abstractmethod
    def append(
        self, conn: Connection, writes: Sequence[Write], entry: EntryFields, *, lock: int | None
    ) -> None:
        """Execute writes and append an entry to the audit log; also commits where that saves time.

        `lock` is the chain's lock, unless it is held already.
        """

    @abstractmethod
    def among(
        self, key: str, values: Sequence[Any], equal: Mapping[str, int]
    ) -> tuple[str, tuple[Any, ...]]:
        """Return a condition and its parameters: `key` is one of the values, columns are `equal`.

        All values are one parameter.
        """

    def select_in(
        self,
        conn: Connection,
        table: str,
        columns: Sequence[str],
        key: str,
        values: Sequence[Any],
        *,
        where: str | None = None,
        index: str | None = None,
        **equal: int,
    ) -> list[Any]:
        """Return rows whose `key` is one of any number of values and whose columns are `equal`.

        `where` is a further condition, in SQL that both databases accept. `index` is the index that
        finds the rows, for a database that would choose another.
        """
        if not values:
            return []
        condition, parameters = self.among(key, values, equal)
        if where is not None:
            condition += f" AND {where}"
        source = table if index is None else self.by_index(table, index)
        sql = f"SELECT {', '.join(columns)} FROM {source} WHERE {condition}"
        return list(driver_connection(conn).execute(sql, parameters))

    def by_index(self, table: str, index: str) -> str:  # noqa: ARG002 -- SQLite needs the index
        """Return SQL that reads a table through an index; here the database chooses."""
        return table

    def delete_in(
        self, conn: Connection, table: str, key: str, values: Sequence[Any], **equal: int
    ) -> None:
        """Delete the rows that select_in() would return."""
        if values:
            condition, parameters = self.among(key, values, equal)
            driver_connection(conn).execute(f"DELETE FROM {table} WHERE {condition}", parameters)

    @abstractmethod
    def day(self, column: str) -> str:
        """Return SQL for the UTC day of a time column, in the form of `tallies.day`."""

    @abstractmethod
    def hundredths(self, column: str) -> str:
        """Return SQL for a number from 0 to 1 in hundredths, rounded down; NULL for NULL."""

    # Checking what others may have written

    @abstractmethod
    def canonical(self, column: sa.Column[Any]) -> str:
        """Return SQL for a column in the form that is digested: integers, floats and text only.

        Times are `YYYY-MM-DD HH:MM:SS.ffffff` in UTC, booleans 0 and 1, JSON its stored text.
        """

    @abstractmethod
    def select_raw(self, conn: Connection, sql: str, *parameters: Any) -> list[Any]:
        """Return rows as stored, even if text is not UTF-8. Placeholders are written `?`."""

    @abstractmethod
    def stream(
        self, conn: Connection, sql: str, *, any_text: bool = False
    ) -> AbstractContextManager[Fetch]:
        """Stream a large result block by block.

        fetch() raises UndecodableText for text that is not UTF-8; with `any_text` it returns such
        text as bytes.
        """

    @abstractmethod
    def json_rows(self, table: str) -> str:
        """Return SQL for the number of rows of a bulk table in an audit entry's `content`."""

    @abstractmethod
    def tables(self, conn: Connection) -> dict[str, bool]:
        """Return the tables by name, and whether row-level security is on for each."""

    @abstractmethod
    def triggers(self, conn: Connection) -> dict[str, str]:
        """Return the enabled triggers' bodies by name, with single spaces."""

    @abstractmethod
    def views(self, conn: Connection) -> dict[str, str]:
        """Return the views' definitions by name."""

    @abstractmethod
    def replace_view(self, conn: Connection, name: str, definition: str) -> None:
        """Create a view, or replace its definition."""

    @abstractmethod
    def stored_view(self, conn: Connection, name: str, definition: str) -> str | None:
        """Return the definition that views() would report; None if it refers to missing objects.

        Raises Unchecked if the database does not allow the check.
        """


class UndecodableText(Exception):
    """A column holds text that is not UTF-8."""


class Unchecked(Exception):
    """The account or the server does not permit a check."""


def driver_connection(conn: Connection) -> Any:
    """Return the driver's connection of an SQLAlchemy connection, in the same transaction."""
    return conn.connection.driver_connection


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces. Raises TypeError if that is impossible."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()


def first_line(error: BaseException) -> str:
    """Return the first line of a driver's message; the rest may quote the statement's data."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
