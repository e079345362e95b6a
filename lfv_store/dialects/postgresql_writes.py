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
from typing import Any

import orjson
import psycopg
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from lfv_store.audit.canonical import GENESIS
from lfv_store.dialects.base import (
    Batch,
    BatchFacts,
    EntryFields,
    Masks,
    Rows,
    Write,
    driver_connection,
)
from lfv_store.tables.base import Base

# Each statement sees what was committed before it, so the statements after the run's lock see all
# of the run.
_BEGIN_BATCH = """
SELECT id FROM runs WHERE run_id = %(run_id)s FOR NO KEY UPDATE;
WITH run AS (
    SELECT id FROM runs WHERE run_id = %(run_id)s
), this AS (
    SELECT nextval('audit_changes') AS change, clock_timestamp() AS at
), given AS (
    SELECT (r->>0)::bigint AS line, (r->>1) COLLATE "C" AS sha256, r->>2 AS format,
           (r->>3)::bigint AS width, (r->>4)::bigint AS height, (r->>5)::bigint AS size_bytes
    FROM jsonb_array_elements(%(images)s::jsonb) AS r
), missing AS (
    SELECT DISTINCT ON (sha256) sha256, format, width, height, size_bytes
    FROM given
    WHERE NOT EXISTS (SELECT FROM images i WHERE i.sha256 = given.sha256)
      AND NOT EXISTS (SELECT FROM inspections i
                      WHERE i.run_id = (SELECT id FROM run) AND i.line_number = given.line)
    ORDER BY sha256
), added AS (
    INSERT INTO images (id, sha256, format, width, height, size_bytes)
    SELECT change * %(span)s + row_number() OVER (ORDER BY sha256) - 1,
           sha256, format, width, height, size_bytes
    FROM missing, this ORDER BY sha256
    ON CONFLICT (sha256) DO NOTHING RETURNING sha256
)
SELECT change, at, (SELECT json_agg(sha256) FROM added) FROM this;
SELECT (SELECT json_agg(line_number) FROM inspections
        WHERE run_id = (SELECT id FROM runs WHERE run_id = %(run_id)s)
          AND line_number = ANY(%(lines)s)),
       (SELECT json_agg(json_build_array(sha256, id)) FROM images
        WHERE sha256 = ANY(%(digests)s)),
       (SELECT json_agg(json_build_array(id, image_id)) FROM detections
        WHERE id = ANY(%(detections)s))
"""
# The same hash as audit.canonical.entry_hash(), because PostgreSQL escapes JSON strings in the same
# way. Computed where the newest entry is read, so that no writer holds the chain for a round trip.
_APPEND = f"""
INSERT INTO audit_log (seq, change, at, actor, action, subject, content, previous, hash)
SELECT seq, change, at::timestamptz, actor, action, subject, content::json, previous,
       encode(sha256(convert_to(
           '[' || seq || ',' || change || ',' || to_json(at) || ',' || to_json(actor)
           || ',' || to_json(action) || ',' || to_json(subject) || ',' || to_json(content)
           || ',' || to_json(previous) || ']', 'UTF8')), 'hex')
FROM (
    SELECT coalesce(last.seq, 0) + 1 AS seq, %s::bigint AS change, %s::text AS at,
           %s::text AS actor, %s::text AS action, %s::text AS subject, %s::text AS content,
           coalesce(last.hash, '{GENESIS}') AS previous
    FROM (SELECT) AS one
    LEFT JOIN (SELECT seq, hash FROM audit_log ORDER BY seq DESC LIMIT 1) AS last ON true
) AS entry
"""
_TYPES = postgresql.dialect()  # type: ignore[no-untyped-call]


def begin_batch(conn: Connection, batch: Batch, *, span: int, first: str) -> BatchFacts | None:
    """Implement Dialect.begin_batch(), after the statements `first`."""
    parameters = {
        "run_id": batch.run_id,
        "images": orjson.dumps([(line, *astuple(image)) for line, image in batch.images]).decode(),
        "span": span,
        "lines": list(batch.lines),
        "digests": [image.sha256 for _, image in batch.images],
        "detections": list(batch.detections),
    }
    results = [rows for rows in _send(conn, first + _BEGIN_BATCH, parameters) if rows is not None]
    locked, ((change, at, added),), ((lines, images, detections),) = results
    if not locked:
        return None
    return BatchFacts(
        run=locked[0][0],
        change=change,
        now=at.astimezone(UTC),
        lines=set(lines or ()),
        images=dict(images or ()),
        added=added or (),
        detections=dict(detections or ()),
    )


def write(conn: Connection, writes: Sequence[Write]) -> None:
    """Implement Dialect.write()."""
    statements, parameters = _statements(writes)
    _send(conn, ";".join(statements), parameters)


def append(
    conn: Connection, writes: Sequence[Write], entry: EntryFields, *, lock: int | None
) -> None:
    """Implement Dialect.append(), with the commit."""
    statements, parameters = _statements(writes)
    if lock is not None:
        statements.append(lock_statement(lock))
    statements += [_APPEND, "COMMIT"]
    _send(conn, ";".join(statements), [*parameters, *astuple(entry)])


def lock_statement(key: int) -> str:
    """Return SQL that takes one of the store's locks. The second key is the schema's."""
    return f"SELECT pg_advisory_xact_lock({key:d}, hashtext(current_schema()))"


def _send(conn: Connection, statements: str, parameters: Any) -> list[list[Any] | None]:
    """Send statements in one round trip, and return each one's rows; None if it has no result."""
    found: list[list[Any] | None] = []
    with psycopg.ClientCursor(driver_connection(conn)) as cursor:
        cursor.execute(statements.encode(), parameters)
        while True:
            found.append(cursor.fetchall() if cursor.description else None)
            if not cursor.nextset():
                return found


def _statements(writes: Sequence[Write]) -> tuple[list[str], list[Any]]:
    """Return the SQL of some writes, and its parameters."""
    statements: list[str] = []
    parameters: list[Any] = []
    for write in writes:
        if isinstance(write, Rows):
            statements.append(_insert_json(write.table, tuple(write.columns)))
            parameters.append((b"[" + b",".join(write.lines) + b"]").decode())
        elif isinstance(write, Masks):
            values = ", ".join(["(%s, %s)"] * len(write.cells))
            statements.append(f"INSERT INTO masks (detection_id, png) VALUES {values}")
            parameters += [value for cells in write.cells for value in cells]
        else:
            equal = " AND ".join(f"{name} = %s" for name in write.equal)
            statements.append(f"DELETE FROM {write.table} WHERE {equal} AND {write.key} = ANY(%s)")
            parameters += [*write.equal.values(), list(write.values)]
    return statements, parameters


@cache
def _insert_json(table: str, columns: tuple[str, ...]) -> str:
    """Return SQL that inserts the rows of a JSON array of arrays.

    Uses jsonb, which is parsed once instead of once for each cell. It lacks -0.0, which the store
    never writes.
    """
    types = [Base.metadata.tables[table].c[name].type.compile(dialect=_TYPES) for name in columns]
    cells = ", ".join(
        f"CAST(r->>{place} AS {kind.partition(' COLLATE')[0]})" for place, kind in enumerate(types)
    )
    return (
        f"INSERT INTO {table} ({', '.join(columns)})"
        f" SELECT {cells} FROM jsonb_array_elements(%s::jsonb) AS r"
    )
