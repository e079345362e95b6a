"""Revision 0002: the words in which SQLite and PostgreSQL differ. Frozen."""

from __future__ import annotations

from lfv_store.migrations.frozen import r0002_costs, r0002_results


def definitions(dialect: str) -> list[tuple[str, str]]:
    """Each view's name and its CREATE VIEW, in the words of a database."""
    sqlite = dialect == "sqlite"
    words = {
        "now": "strftime('%Y-%m-%d %H:%M:%f000', 'now')" if sqlite else "now()",
        "integer": "" if sqlite else "pg_catalog.int8",
        "float": "" if sqlite else "::float8",
        "greatest": "max" if sqlite else "greatest",
        "least": "min" if sqlite else "least",
        "answered": _seconds("first_answer_at", "last_answer_at", sqlite=sqlite),
        "beyond": _seconds("covered_to", "last_answer_at", sqlite=sqlite),
        "leased": _seconds("leased_from", "leased_to", sqlite=sqlite),
        "paid": _seconds("h.paid_from", "h.paid_to", sqlite=sqlite),
    }
    views = (*r0002_results.VIEWS, *r0002_costs.VIEWS)
    return [(name, definition.format(**words)) for name, definition in views]


def _seconds(start: str, end: str, *, sqlite: bool) -> str:
    """Seconds between two times; SQLite's julianday() is good to the millisecond."""
    if sqlite:
        return f"round((julianday({end}) - julianday({start})) * 86400.0, 3)"
    return f"extract(epoch FROM {end} - {start})::float8"
