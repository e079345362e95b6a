"""Many rows at once: COPY on PostgreSQL, one prepared statement on SQLite.

Rows are canonical (see lfv_store/audit/layouts.py): what is inserted is what was digested.
"""

# ruff: noqa: S608 -- names in SQL text are constants of this package, values are parameters

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Connection

from lfv_store.audit.canonical import Cells
from lfv_store.database import canonical_json, driver_connection


def insert_rows(
    conn: Connection, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Insert rows in the connection's transaction. Names are the store's own, never the user's."""
    names = ", ".join(columns)
    driver = driver_connection(conn)
    if conn.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        driver.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)
        return
    with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def select_where_in(
    conn: Connection, statement: str, column: str, values: Sequence[Any]
) -> list[Any]:
    """Rows of `statement` (which ends in WHERE or AND) whose column is among the values.

    One parameter whatever the number of values: an array on PostgreSQL, a JSON array on SQLite.
    """
    if not values:
        return []
    driver = driver_connection(conn)
    if conn.dialect.name == "sqlite":
        sql = f"{statement} {column} IN (SELECT value FROM json_each(?))"
        return list(driver.execute(sql, (canonical_json(list(values)),)))
    with driver.cursor() as cursor:
        return list(cursor.execute(f"{statement} {column} = ANY(%s)", (list(values),)))


def delete_where_in(conn: Connection, statement: str, column: str, values: Sequence[Any]) -> None:
    """Delete the rows of `statement` (ending in WHERE or AND) with a column among the values."""
    if not values:
        return
    driver = driver_connection(conn)
    if conn.dialect.name == "sqlite":
        sql = f"{statement} {column} IN (SELECT value FROM json_each(?))"
        driver.execute(sql, (canonical_json(list(values)),))
        return
    with driver.cursor() as cursor:
        cursor.execute(f"{statement} {column} = ANY(%s)", (list(values),))


def insert_missing_images(conn: Connection, rows: Sequence[Cells]) -> list[Cells]:
    """Insert those images (id, sha256, format, width, height, size_bytes) that are not there yet.

    Gives the rows that were really inserted. Rows must come sorted by sha256: two writers that
    bring the same images then wait for each other in one direction only.
    """
    columns = "id, sha256, format, width, height, size_bytes"
    if conn.dialect.name == "sqlite":
        insert_rows(conn, "images", columns.split(", "), rows)
        return list(rows)
    with driver_connection(conn).cursor() as cursor:
        inserted = cursor.execute(
            f"INSERT INTO images ({columns}) SELECT * FROM"
            " unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[],"
            " %s::bigint[])"
            " ON CONFLICT (sha256) DO NOTHING RETURNING id",
            [list(column) for column in zip(*rows, strict=True)],
        ).fetchall()
    ids = {row[0] for row in inserted}
    return [row for row in rows if row[0] in ids]
