"""The views that auditors read. Their columns are a contract: see docs/store.md."""

from __future__ import annotations

from alembic import op

from lfv_store.migrations.frozen import r0002_costs, r0002_results

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the views, each in the words of its database."""
    sqlite = op.get_bind().dialect.name == "sqlite"
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
    for _, definition in (*r0002_results.VIEWS, *r0002_costs.VIEWS):
        # exec_driver_sql: a colon or a percent sign in a view is no parameter.
        op.get_bind().exec_driver_sql(definition.format(**words))


def _seconds(start: str, end: str, *, sqlite: bool) -> str:
    """Seconds between two times; SQLite's julianday() is good to the millisecond."""
    if sqlite:
        return f"round((julianday({end}) - julianday({start})) * 86400.0, 3)"
    return f"extract(epoch FROM {end} - {start})::float8"
