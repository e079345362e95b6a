"""Runs: who inspected which manifest, with which policy, and with what outcome."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.audit.change import Change, commit
from lfv_store.clean_text import clean, clean_or_none, json_value
from lfv_store.dialects import dialect_of
from lfv_store.dialects.base import canonical_json
from lfv_store.errors import InvalidRecord, UnknownRun
from lfv_store.models import require_model
from lfv_store.records.base import JsonObject
from lfv_store.records.runs import RUN_STATUSES, NewRun, Run, RunStatus
from lfv_store.repository import Repository
from lfv_store.row_mapping import record_from
from lfv_store.tables import PolicyTable, RunProgressTable, RunTable
from lfv_store.tallies import update_tallies


class Runs(Repository):
    """`store.runs`."""

    def start(self, new: NewRun) -> Run:
        """Record the start of a run. A repeated run_id returns the stored run.

        Raises UnknownModel.
        """
        known = self._select(RunTable.run_id == new.run_id)
        if known:
            return known[0]

        def work(change: Change) -> None:
            change.lock_chain()
            if run_key(change.conn, new.run_id) is None:
                _insert(change, new)

        commit(self._database, self._actor, "run.started", new.run_id, work)
        return self.get(new.run_id)

    def get(self, run_id: str) -> Run:
        """Return a run by its id. Raises UnknownRun."""
        found = self._select(RunTable.run_id == run_id)
        if not found:
            raise UnknownRun(f"no run has id {run_id!r}")
        return found[0]

    def find_by_flow_run(self, flow_run_id: str) -> Run | None:
        """Return the newest run that a Prefect flow run worked on, or None."""
        found = self._select(RunTable.flow_run_id == flow_run_id, limit=1)
        return found[0] if found else None

    def find(self, prefix: str) -> Sequence[Run]:
        """Return up to three runs whose id starts with `prefix`, enough to tell if it is unique."""
        return self._select(RunTable.run_id.startswith(prefix, autoescape=True), limit=3)

    def list(
        self,
        limit: int = 20,
        *,
        status: RunStatus | None = None,
        project: str | None = None,
        source: str | None = None,
        model_id: int | None = None,
        since: datetime | None = None,
        before: Run | None = None,
    ) -> Sequence[Run]:
        """Return the runs that meet all conditions, the newest first.

        Args:
            limit: How many runs to return at most.
            status: Their status.
            project: Name of their project.
            source: Text that their source contains, in upper or lower case.
            model_id: Their model.
            since: Time from which on they were started.
            before: A run that was started after them.
        """
        conditions: list[sa.ColumnElement[bool]] = []
        if status is not None:
            conditions.append(RunTable.status == status)
        if project is not None:
            conditions.append(RunTable.project_name == clean(project))
        if source is not None:
            conditions.append(RunTable.source.icontains(clean(source), autoescape=True))
        if model_id is not None:
            conditions.append(RunTable.model_id == model_id)
        if since is not None:
            conditions.append(RunTable.started_at >= since)
        if before is not None:
            number = sa.select(RunTable.id).where(RunTable.run_id == before.run_id)
            conditions.append(
                sa.or_(
                    RunTable.started_at < before.started_at,
                    sa.and_(
                        RunTable.started_at == before.started_at,
                        RunTable.id < number.scalar_subquery(),
                    ),
                )
            )
        return self._select(*conditions, limit=limit)

    def set_manifest(
        self,
        run_id: str,
        sha256: str | None,
        lines: int | None,
        skipped: Mapping[str, int] | None = None,
    ) -> None:
        """Record the manifest's digest (hex), its number of lines, and what was skipped.

        None means not known yet. `skipped` counts files by reason.
        """
        self._update(
            run_id,
            "run.manifest",
            manifest_sha256=sha256,
            manifest_lines=lines,
            skipped=None if skipped is None else dict(skipped),
        )

    def set_model(
        self, run_id: str, model_id: int, model_version: str, parameters: JsonObject
    ) -> Run:
        """Record the model of a run that was started before its model was known.

        `parameters` replace those of the start. Raises UnknownModel.
        """
        self._update(
            run_id,
            "run.model",
            model_id=model_id,
            model_version=clean(model_version),
            parameters=parameters,
        )
        return self.get(run_id)

    def set_status(self, run_id: str, status: RunStatus, message: str | None, at: datetime) -> None:
        """Record a run's status. Every status but `running` also sets the finish time."""
        if status not in RUN_STATUSES:
            raise InvalidRecord(f"unknown run status {status!r}")
        self._update(
            run_id,
            f"run.{status}",
            status=status,
            message=clean_or_none(message),
            finished_at=None if status == "running" else at,
        )

    def resume(self, run_id: str, *, flow_run_id: str | None) -> Run:
        """Mark a run as running again, under another Prefect flow run.

        The run names the newest flow run; the audit log keeps who resumed it and when.
        """
        values: dict[str, Any] = {"status": "running", "message": None, "finished_at": None}
        if flow_run_id is not None:
            values["flow_run_id"] = flow_run_id
        self._update(run_id, "run.resumed", **values)
        return self.get(run_id)

    def _update(self, run_id: str, action: str, **values: Any) -> None:

        def work(change: Change) -> None:
            key = lock_run(change.conn, run_id)
            if "status" in values:
                update_tallies(change, key)
            if "model_id" in values:
                require_model(change.conn, values["model_id"])
            row = change.conn.execute(
                sa.select(*(RunTable.__table__.c[name] for name in values)).where(
                    RunTable.id == key
                )
            ).one()
            if tuple(row) != tuple(values.values()):
                change.update("runs", key, **values)

        commit(self._database, self._actor, action, run_id, work)

    def _select(self, *conditions: sa.ColumnElement[bool], limit: int = 2) -> Sequence[Run]:
        statement = (
            sa.select(
                *RunTable.__table__.c,
                PolicyTable.content.label("policy"),
                PolicyTable.sha256.label("policy_sha256"),
                sa.func.coalesce(RunProgressTable.planned_through, 0).label("planned_through"),
            )
            .join(PolicyTable, PolicyTable.id == RunTable.policy_id)
            .outerjoin(RunProgressTable, RunProgressTable.run_id == RunTable.id)
            .where(*conditions)
            .order_by(RunTable.started_at.desc(), RunTable.id.desc())
            .limit(limit)
        )
        with self._database.read() as conn:
            return [record_from(Run, row) for row in conn.execute(statement).mappings()]


def run_key(conn: Connection, run_id: str) -> int | None:
    """Return the internal id of a run, or None."""
    return conn.scalar(sa.select(RunTable.id).where(RunTable.run_id == run_id))


def require_run(conn: Connection, run_id: str) -> int:
    """Return the internal id of a run. Raises UnknownRun."""
    key = run_key(conn, run_id)
    if key is None:
        raise UnknownRun(f"no run has id {run_id!r}")
    return key


def lock_run(conn: Connection, run_id: str) -> int:
    """Lock a run until the commit, so that its batches are written one by one; return its id.

    Others can still insert rows that refer to the run (FOR NO KEY UPDATE). Raises UnknownRun.
    """
    key = dialect_of(conn).lock_run(conn, run_id)
    if key is None:
        raise UnknownRun(f"no run has id {run_id!r}")
    return key


def policy_digest(policy: JsonObject) -> str:
    """Return the SHA-256, in hex, of a policy's canonical JSON."""
    return hashlib.sha256(canonical_json(policy).encode()).hexdigest()


def store_policy(change: Change, policy: JsonObject) -> int:
    """Return the id of a policy, storing it if new. Takes the chain's lock."""
    change.lock_chain()
    policy = json_value(policy)
    digest = policy_digest(policy)
    known = change.conn.scalar(sa.select(PolicyTable.id).where(PolicyTable.sha256 == digest))
    if known is not None:
        return known
    return change.insert("policies", sha256=digest, content=policy, stored_at=change.now)


def _insert(change: Change, new: NewRun) -> None:
    if new.model_id is not None:
        require_model(change.conn, new.model_id)
    policy_id = store_policy(change, new.policy)
    key = change.insert(
        "runs",
        run_id=new.run_id,
        model_id=new.model_id,
        project_name=clean(new.project_name),
        model_version=clean(new.model_version),
        host=clean(new.host),
        source=clean(new.source),
        policy_id=policy_id,
        current_decision=1,
        triggered_by=clean(new.triggered_by),
        flow_run_id=new.flow_run_id,
        code_version=clean(new.code_version),
        parameters=new.parameters,
        status="running",
        started_at=new.started_at,
    )
    change.insert(
        "decisions",
        run_id=key,
        number=1,
        policy_id=policy_id,
        decided_by=clean(new.triggered_by) or "run",
        decided_at=new.started_at,
        reason="",
    )
    change.conn.execute(
        sa.insert(RunProgressTable).values(run_id=key, planned_through=0, counted_through=0)
    )
