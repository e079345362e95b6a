"""Writes of PostgreSQL that send several statements in one round trip.

Values are part of the statements' text, because the protocol with separate parameters accepts one
statement at a time. Rows are sent as the JSON from which their digest is computed.
"""

# ruff: noqa: S608 -- names in SQL text are constants of this package, values are parameters

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from datetime import UTC
from functools import cache
from typing import Any, TypeVar

import orjson
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from lfv_store.audit.canonical import GENESIS
from lfv_store.audit.layouts import BULK
from lfv_store.dialects.base import (
    Batch,
    BatchFacts,
    EntryFields,
    Masks,
    Rows,
    Write,
)
from lfv_store.dialects.postgresql_statements import (
    Script,
    Statement,
    begin_with,
    prepared_in,
)
from lfv_store.tables.base import Base

# Each statement sees what was committed before it, so the statements after the run's lock see all
# of the run. Each key is looked up by a separate subquery, which always uses the index. Plans are
# kept, and one made for small tables might otherwise read all rows later.
_LOCK_RUN = Statement("SELECT id FROM runs WHERE run_id = $1 FOR NO KEY UPDATE", ("text",))
_STORE_IMAGES = Statement(
    """
WITH run AS (
    SELECT id FROM runs WHERE run_id = $1
), this AS (
    SELECT nextval('audit_changes') AS change, clock_timestamp() AS at
), given AS (
    SELECT (r->>0)::bigint AS line, (r->>1) COLLATE "C" AS sha256, r->>2 AS format,
           (r->>3)::bigint AS width, (r->>4)::bigint AS height, (r->>5)::bigint AS size_bytes
    FROM jsonb_array_elements($2) AS r
), missing AS (
    SELECT DISTINCT ON (sha256) sha256, format, width, height, size_bytes
    FROM given
    WHERE (SELECT i.id FROM images i WHERE i.sha256 = given.sha256) IS NULL
      AND (SELECT i.id FROM inspections i
           WHERE i.run_id = (SELECT id FROM run) AND i.line_number = given.line) IS NULL
    ORDER BY sha256
), added AS (
    INSERT INTO images (id, sha256, format, width, height, size_bytes)
    SELECT change * $3 + row_number() OVER (ORDER BY sha256) - 1,
           sha256, format, width, height, size_bytes
    FROM missing, this ORDER BY sha256
    ON CONFLICT (sha256) DO NOTHING RETURNING sha256
)
SELECT change, at, (SELECT json_agg(sha256) FROM added) FROM this
""",
    ("text", "jsonb", "bigint"),
)
# Arrays, in the order of the keys; null for what is not stored.
_LOOK_UP = Statement(
    """
SELECT (SELECT json_agg((SELECT i.line_number FROM inspections i
                         WHERE i.run_id = run.id AND i.line_number = r::bigint))
        FROM jsonb_array_elements($2) AS r),
       (SELECT json_agg((SELECT i.id FROM images i WHERE i.sha256 = (r #>> '{}') COLLATE "C"))
        FROM jsonb_array_elements($3) AS r),
       (SELECT json_agg((SELECT d.image_id FROM detections d WHERE d.id = r::bigint))
        FROM jsonb_array_elements($4) AS r)
FROM (SELECT id FROM runs WHERE run_id = $1) AS run
""",
    ("text", "jsonb", "jsonb", "jsonb"),
)
# The same hash as audit.canonical.entry_hash(), because PostgreSQL escapes JSON strings in the same
# way. Computed where the newest entry is read, so that no writer holds the chain for a round trip.
_APPEND = Statement(
    f"""
INSERT INTO audit_log (seq, change, at, actor, action, subject, content, previous, hash)
SELECT seq, change, at::timestamptz, actor, action, subject, content::json, previous,
       encode(sha256(convert_to(
           '[' || seq || ',' || change || ',' || to_json(at) || ',' || to_json(actor)
           || ',' || to_json(action) || ',' || to_json(subject) || ',' || to_json(content)
           || ',' || to_json(previous) || ']', 'UTF8')), 'hex')
FROM (
    SELECT coalesce(last.seq, 0) + 1 AS seq, $1 AS change, $2 AS at, $3 AS actor, $4 AS action,
           $5 AS subject, $6 AS content,
           coalesce(last.hash, '{GENESIS}') AS previous
    FROM (SELECT) AS one
    LEFT JOIN (SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1) AS last ON true
) AS entry
""",
    ("bigint", "text", "text", "text", "text", "text"),
)
_LOCK = Statement("SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))", ("int",))
_INSERT_MASKS = Statement(
    "INSERT INTO masks (detection_id, png) SELECT * FROM unnest($1, $2)", ("bigint[]", "bytea[]")
)
T = TypeVar("T")
_BATCH_TABLES = ("detections", "anomalies", "inspections", "inspection_attributes")
_TYPES = postgresql.dialect()  # type: ignore[no-untyped-call]


def begin_batch(
    conn: Connection, batch: Batch, *, span: int, begin: str | None
) -> BatchFacts | None:
    """Implement Dialect.begin_batch(). `begin` is SQL that starts the transaction."""
    digests = [image.sha256 for _, image in batch.images]
    images = [(line, *astuple(image)) for line, image in batch.images]

    keys = (batch.lines, digests, batch.detections)
    calls: list[tuple[Statement, Sequence[Any]]] = [
        (_LOCK_RUN, (batch.run_id,)),
        (_STORE_IMAGES, (batch.run_id, _json(images), span)),
        (_LOOK_UP, (batch.run_id, *map(_json, keys))),
    ]
    if begin is not None:
        results = begin_with(conn, begin, _batch_statements(), calls)
    else:
        script = Script()
        for statement, values in calls:
            script.call(statement, *values)
        results = script.send(conn)
    locked, ((change, at, added),), looked_up = results
    if not locked:
        return None
    ((lines, stored, detections),) = looked_up
    return BatchFacts(
        run=locked[0][0],
        change=change,
        now=at.astimezone(UTC),
        lines={line for line in lines or () if line is not None},
        images=_found(digests, stored),
        added=added or (),
        detections=_found(batch.detections, detections),
    )


def _json(values: Sequence[Any]) -> str:
    return orjson.dumps(values).decode()


def _found(keys: Sequence[T], values: Sequence[int | None] | None) -> dict[T, int]:
    """Return the values of keys that have one."""
    pairs = zip(keys, values or (), strict=True) if keys else ()
    return {key: value for key, value in pairs if value is not None}


def write(conn: Connection, writes: Sequence[Write]) -> None:
    """Implement Dialect.write()."""
    script = Script(prepared_in(conn))
    _add(script, writes)
    script.send(conn)


def append(
    conn: Connection, writes: Sequence[Write], entry: EntryFields, *, lock: int | None
) -> None:
    """Implement Dialect.append(), with the commit."""
    script = Script(prepared_in(conn))
    _add(script, writes)
    if lock is not None:
        script.call(_LOCK, lock)
    script.call(_APPEND, *astuple(entry))
    script.add("COMMIT")
    script.send(conn)


def take_lock(conn: Connection, key: int) -> None:
    """Take one of the store's locks. The second key is the schema's."""
    script = Script()
    script.call(_LOCK, key)
    script.send(conn)


def _add(script: Script, writes: Sequence[Write]) -> None:
    """Add some writes to a script."""
    for write in writes:
        if isinstance(write, Rows):
            insert = _insert_json(write.table, tuple(write.columns))
            script.call(insert, (b"[" + b",".join(write.lines) + b"]").decode())
        elif isinstance(write, Masks):
            ids, pngs = zip(*write.cells, strict=True)
            script.call(_INSERT_MASKS, list(ids), list(pngs))
        else:
            delete = _delete(write.table, write.key, tuple(write.equal))
            script.call(delete, list(write.values), *write.equal.values())


@cache
def _batch_statements() -> tuple[Statement, ...]:
    """Return all statements of a batch; the last one is sent first."""
    return (
        _STORE_IMAGES,
        _LOOK_UP,
        *(_insert_json(table, BULK[table].columns) for table in _BATCH_TABLES),
        _INSERT_MASKS,
        _delete("pending_items", "line_number", ("run_id",)),
        _LOCK,
        _APPEND,
        _LOCK_RUN,
    )


@cache
def _delete(table: str, key: str, equal: tuple[str, ...]) -> Statement:
    """Return a statement that deletes by a list of keys, and by columns that are equal."""
    # Their range keeps a plan from reading all rows that are equal in the other columns.
    conditions = [
        f"{key} = ANY($1)",
        f"{key} >= (SELECT min(k) FROM unnest($1) AS k)",
        f"{key} <= (SELECT max(k) FROM unnest($1) AS k)",
    ]
    conditions += [f"{name} = ${place}" for place, name in enumerate(equal, start=2)]
    kind = _type(table, key)
    types = (f"{kind}[]", *(_type(table, name) for name in equal))
    return Statement(f"DELETE FROM {table} WHERE {' AND '.join(conditions)}", types)


@cache
def _insert_json(table: str, columns: tuple[str, ...]) -> Statement:
    """Return a statement that inserts the rows of a JSON array of arrays.

    Uses jsonb, which is parsed once instead of once for each cell. It lacks -0.0, which the store
    never writes.
    """
    cells = ", ".join(
        f"CAST(r->>{place} AS {_type(table, name)})" for place, name in enumerate(columns)
    )
    return Statement(
        f"INSERT INTO {table} ({', '.join(columns)})"
        f" SELECT {cells} FROM jsonb_array_elements($1) AS r",
        ("jsonb",),
    )


def _type(table: str, column: str) -> str:
    """Return the type of a column, without its collation."""
    kind: str = Base.metadata.tables[table].c[column].type.compile(dialect=_TYPES)
    return kind.partition(" COLLATE")[0]
