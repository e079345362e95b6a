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

Fetch = Callable[[int], list[Any]]
"""Returns the next n rows of a result."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to insert: canonical cells (integers, floats, text), and each row as a JSON array."""

    table: str
    columns: Sequence[str]
    cells: Sequence[Sequence[Any]]
    lines: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Masks:
    """Masks to insert: the id of the detection, and the PNG."""

    cells: Sequence[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Deletion:
    """Rows to delete: those whose `key` is among the values, and whose columns are `equal`."""

    table: str
    key: str
    values: Sequence[Any]
    equal: Mapping[str, int]


Write = Rows | Masks | Deletion


@dataclass(frozen=True, slots=True)
class BatchImage:
    """The image of a manifest line."""

    line: int
    sha256: str
    format: str
    width: int
    height: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch of inspections refers to; `detections` are ids."""

    run_id: str
    lines: Sequence[int]
    images: Sequence[BatchImage]
    detections: Sequence[int]


@dataclass(frozen=True, slots=True)
class BatchFacts:
    """What is known of a batch once its run is locked and its images are there.

    `lines` have their record already.  `images` has the ids of images by SHA-256, but not of those
    whose lines are all among `lines` and that nobody stored; `added` are those of this change.
    `detections` has the image of each detection.
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
    """An audit entry but for its place in the chain; `at` and `content` are text."""

    change: int
    at: str
    actor: str
    action: str
    subject: str
    content: str


class Dialect(ABC):
    """A kind of database. Names of tables and columns are the store's own, never the user's."""

    name: ClassVar[str]
    many_writers: ClassVar[bool]
    """Whether write transactions run side by side, so that rows have to be locked."""

    view_words: ClassVar[Mapping[str, str]]
    """SQL of this database for the words in lfv_store/views/."""

    append_only_triggers: ClassVar[Mapping[str, str]]
    """What keeps a table append-only: each trigger's name, and what it says, with {table}."""

    write_options: ClassVar[Mapping[str, Any]]
    """Execution options of a write transaction."""

    # Connections and transactions

    @abstractmethod
    def create_engine(self, url: URL, options: Mapping[str, Any]) -> sa.Engine:
        """An engine whose connections are set up for the store."""

    @abstractmethod
    def check(self, conn: Connection, name: str) -> None:
        """Refuse a database that the store cannot work with, whatever its tables. StoreError."""

    @abstractmethod
    def snapshot_options(self, *, read_only: bool) -> Mapping[str, Any]:
        """Execution options of a transaction that sees one moment."""

    @abstractmethod
    def begin_write(self, conn: Connection) -> None:
        """Begin a write transaction on a connection that has the `write_options`."""

    @abstractmethod
    def begin_migration(self, conn: Connection, views: Collection[str]) -> None:
        """Set up a write transaction that changes tables under `views`; one at a time."""

    @abstractmethod
    def end_migration(self, conn: Connection) -> None:
        """Check what begin_migration() put off."""

    @abstractmethod
    def now(self, conn: Connection) -> datetime:
        """The time, by one clock for everybody who shares the database."""

    @abstractmethod
    def error(self, error: BaseException, *, lost: bool, name: str) -> StoreError | None:
        """The store's error for one of this driver's; None for another's.

        `lost`: the connection broke. `name` is how messages call the database.
        """

    # Writing

    @abstractmethod
    def unguarded(self, conn: Connection, table: str) -> AbstractContextManager[None]:
        """Let the block delete rows of an append-only table; for the owner of the tables."""

    @abstractmethod
    def lock(self, conn: Connection, key: int) -> None:
        """Hold one of the store's locks until the transaction ends."""

    @abstractmethod
    def lock_run(self, conn: Connection, run_id: str) -> int | None:
        """The internal id of a run, locked until the transaction ends; others may refer to it."""

    @abstractmethod
    def next_change(self, conn: Connection) -> int:
        """A number for a change: larger than those of all changes committed so far."""

    @abstractmethod
    def insert(
        self, conn: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Insert rows of canonical cells: integers, floats, text and bytes."""

    @abstractmethod
    def begin_batch(
        self, conn: Connection, batch: Batch, *, span: int, begin: bool
    ) -> BatchFacts | None:
        """Lock the run, store the images that are new, and look up what the batch refers to.

        Images go in by the order of their SHA-256: two writers with the same images then wait for
        each other in one direction only. The first new one gets the id change * `span`.

        With `begin` this begins the write transaction too. Returns None for a run that is not
        known.
        """

    @abstractmethod
    def write(self, conn: Connection, writes: Sequence[Write]) -> None:
        """Do some writes, in their order."""

    @abstractmethod
    def append(
        self, conn: Connection, writes: Sequence[Write], entry: EntryFields, *, lock: int | None
    ) -> None:
        """Do some writes, append an entry to the audit log, and commit where that saves time.

        `lock` is the chain's lock where it is not held yet.
        """

    @abstractmethod
    def among(
        self, key: str, values: Sequence[Any], equal: Mapping[str, int]
    ) -> tuple[str, tuple[Any, ...]]:
        """SQL, and its parameters, for `key` among the values and other columns `equal`.

        The values take one parameter, however many they are.
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
        **equal: int,
    ) -> list[Any]:
        """Rows whose `key` is among the values, however many, and whose columns are `equal`.

        `where` is another condition, in SQL that both databases understand.
        """
        if not values:
            return []
        condition, parameters = self.among(key, values, equal)
        if where is not None:
            condition += f" AND {where}"
        sql = f"SELECT {', '.join(columns)} FROM {table} WHERE {condition}"
        return list(driver_connection(conn).execute(sql, parameters))

    def delete_in(
        self, conn: Connection, table: str, key: str, values: Sequence[Any], **equal: int
    ) -> None:
        """Delete the rows that select_in() would find."""
        if values:
            condition, parameters = self.among(key, values, equal)
            driver_connection(conn).execute(f"DELETE FROM {table} WHERE {condition}", parameters)

    @abstractmethod
    def day(self, column: str) -> str:
        """SQL for the UTC calendar day of a time column, as `tallies.day` has it."""

    @abstractmethod
    def hundredths(self, column: str) -> str:
        """SQL for a figure of 0 to 1 in hundredths, rounded down, as `answer_tallies.step` has it.

        NULL for NULL.
        """

    # Checking what others may have written

    @abstractmethod
    def canonical(self, column: sa.Column[Any]) -> str:
        """SQL for a column as digests see it: integers, floats and text only.

        Times as `YYYY-MM-DD HH:MM:SS.ffffff` in UTC, booleans as 0 and 1, JSON as the stored text.
        """

    @abstractmethod
    def select_raw(self, conn: Connection, sql: str, *parameters: Any) -> list[Any]:
        """Rows as stored, also where text is not UTF-8. Parameters are written `?`."""

    @abstractmethod
    def stream(
        self, conn: Connection, sql: str, *, any_text: bool = False
    ) -> AbstractContextManager[Fetch]:
        """Rows of a large result, a block at a time.

        fetch() raises UndecodableText for text that is not UTF-8; with `any_text` it returns such
        text as bytes.
        """

    @abstractmethod
    def json_rows(self, table: str) -> str:
        """SQL for the number of rows that an audit entry's `content` has for a bulk table."""

    @abstractmethod
    def tables(self, conn: Connection) -> dict[str, bool]:
        """Each table's name, and whether row-level security is on for it."""

    @abstractmethod
    def triggers(self, conn: Connection) -> dict[str, str]:
        """Each enabled trigger's name, and what it says, with single spaces."""

    @abstractmethod
    def views(self, conn: Connection) -> dict[str, str]:
        """Each view's name, and its definition."""

    @abstractmethod
    def replace_view(self, conn: Connection, name: str, definition: str) -> None:
        """Create a view, or replace its definition."""

    @abstractmethod
    def stored_view(self, conn: Connection, name: str, definition: str) -> str | None:
        """A view's definition as views() would have it; None if it refers to what is gone.

        Raises Unchecked if the database does not allow to find out.
        """


class UndecodableText(Exception):
    """A column holds text that is not UTF-8."""


class Unchecked(Exception):
    """The account or the server does not allow a check."""


def driver_connection(conn: Connection) -> Any:
    """The driver's connection under an SQLAlchemy one, in the same transaction."""
    return conn.connection.driver_connection


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces. Raises TypeError for what JSON cannot hold."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).decode()


def first_line(error: BaseException) -> str:
    """The first line of a driver's message: the rest may quote the statement and its data."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
