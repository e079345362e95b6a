"""Tables, indexes, and triggers that refuse changes to stored facts."""

from __future__ import annotations

from alembic import op

from lfv_store.migrations.frozen import r0001_facts, r0001_state

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_APPEND_ONLY = (
    "models",
    "policies",
    "decisions",
    "images",
    "detections",
    "masks",
    "anomalies",
    "inspections",
    "inspection_attributes",
    "verdicts",
    "reviews",
    "audit_log",
)


def upgrade() -> None:
    """Create everything."""
    r0001_state.create_runs()
    r0001_state.create_hostings()
    r0001_facts.create_answers()
    r0001_state.create_working_state()
    _protect()


def _protect() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in _APPEND_ONLY:
            for event in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table}"
                    f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        return
    # Numbers changes before the chain is locked; see lfv_store/audit/change.py.
    op.execute("CREATE SEQUENCE audit_changes")
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$"
        " BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME"
        " USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    for table in _APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
