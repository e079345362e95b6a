"""Approvals: which model version runs use by default, and who decided so and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.audit.change import Change, commit
from lfv_store.clean_text import clean
from lfv_store.errors import InvalidRecord, RecordConflict, UnknownModel
from lfv_store.records.base import JsonObject
from lfv_store.repository import Repository
from lfv_store.row_mapping import record_from
from lfv_store.tables import ApprovalTable, ModelTable

_APPROVALS = sa.select(
    ApprovalTable.__table__, ApprovalTable.id.label("approval_id"), ModelTable.model_version
).outerjoin(ModelTable, ModelTable.id == ApprovalTable.model_id)


@dataclass(frozen=True, slots=True)
class Approval:
    """The approval of a model version for the runs of its project, until the next approval.

    A withdrawal is an approval without a model. `comparison` has the figures of a comparison with
    another version on which the decision was based, if there was one. `signature` is who signed it
    with which meaning, and a digest of what was signed; None without one.
    """

    approval_id: int
    host: str
    project_name: str
    model_id: int | None
    model_version: str | None
    decided_by: str
    decided_at: datetime
    reason: str
    comparison: dict[str, Any] | None = None
    signature: dict[str, Any] | None = None


class Approvals(Repository):
    """Records and returns approvals; available as `store.approvals`."""

    def current(self, project_name: str, *, host: str) -> Approval | None:
        """Return the current approval of a project on a kind of host, or None."""
        with self._database.read() as conn:
            last = _last(conn, host, project_name)
        return last if last is not None and last.model_id is not None else None

    def get(self, approval_id: int) -> Approval | None:
        """Return an approval or withdrawal by its id, or None."""
        with self._database.read() as conn:
            row = conn.execute(_APPROVALS.where(ApprovalTable.id == approval_id)).mappings()
            found = row.one_or_none()
        return None if found is None else record_from(Approval, found)

    def all_current(self) -> dict[int, Approval]:
        """Return the current approvals of all projects, by the id of their model."""
        newest = sa.select(sa.func.max(ApprovalTable.id)).group_by(
            ApprovalTable.host, ApprovalTable.project_name
        )
        with self._database.read() as conn:
            rows = conn.execute(_APPROVALS.where(ApprovalTable.id.in_(newest))).mappings()
            found = [record_from(Approval, row) for row in rows]
        return {approval.model_id: approval for approval in found if approval.model_id is not None}

    def history(self, project_name: str, *, host: str, limit: int = 20) -> Sequence[Approval]:
        """Return the approvals and withdrawals of a project, newest first."""
        wanted = _approvals_of(host, project_name).order_by(ApprovalTable.id.desc()).limit(limit)
        with self._database.read() as conn:
            return [record_from(Approval, row) for row in conn.execute(wanted).mappings()]

    def approve(
        self,
        model_id: int,
        *,
        decided_by: str,
        reason: str,
        comparison: JsonObject | None = None,
        signature: JsonObject | None = None,
        seen: int | None = None,
    ) -> Approval:
        """Approve a model for its project on its kind of host, in place of another version.

        `seen` is the id of the last approval or withdrawal that the caller has seen, or 0 if there
        was none. None skips the check that it is still the last.

        Raises:
            UnknownModel: There is no such model.
            InvalidRecord: The name or the reason is missing.
            RecordConflict: The model is approved already, or there is a decision after `seen`.
        """

        def choose(change: Change) -> tuple[str, str]:
            row = change.conn.execute(
                sa.select(ModelTable.__table__).where(ModelTable.id == model_id)
            ).one_or_none()
            if row is None:
                raise UnknownModel(f"no model has id {model_id}")
            last = _check_current(change, row.host, row.project_name, seen)
            if last is not None and last.model_id == model_id:
                raise RecordConflict(
                    f"version {row.model_version} of {row.project_name} is approved already, "
                    f"by {last.decided_by}"
                )
            return row.host, row.project_name

        return self._commit(
            "model.approved",
            str(model_id),
            choose,
            model_id=model_id,
            decided_by=decided_by,
            reason=reason,
            comparison=comparison,
            signature=signature,
        )

    def withdraw(
        self,
        project_name: str,
        *,
        host: str,
        decided_by: str,
        reason: str,
        signature: JsonObject | None = None,
        seen: int | None = None,
    ) -> Approval:
        """Withdraw the current approval of a project on a kind of host.

        `seen` is the same as for `approve`.

        Raises:
            InvalidRecord: The name or the reason is missing.
            RecordConflict: No version is approved, or there is a decision after `seen`.
        """

        def choose(change: Change) -> tuple[str, str]:
            last = _check_current(change, host, project_name, seen)
            if last is None or last.model_id is None:
                raise RecordConflict(f"no version of {project_name} is approved")
            return host, project_name

        return self._commit(
            "model.approval_withdrawn",
            project_name,
            choose,
            decided_by=decided_by,
            reason=reason,
            signature=signature,
        )

    def _commit(
        self,
        action: str,
        subject: str,
        choose: Callable[[Change], tuple[str, str]],
        *,
        decided_by: str,
        reason: str,
        **facts: Any,
    ) -> Approval:
        """Record a decision on the project that `choose` returns: its host and its name."""
        name, reason = clean(decided_by), clean(reason)
        if not name.strip() or not reason.strip():
            raise InvalidRecord("an approval or withdrawal needs a name and a reason")

        def work(change: Change) -> int:
            change.lock_chain()
            host, project_name = choose(change)
            return change.insert(
                "approvals",
                host=host,
                project_name=project_name,
                decided_by=name,
                decided_at=change.now,
                reason=reason,
                **facts,
            )

        made = commit(self._database, name, action, subject, work)
        found = self.get(made)
        if found is None:
            raise RuntimeError("an approval that was committed is not there")
        return found


def _check_current(
    change: Change, host: str, project_name: str, seen: int | None
) -> Approval | None:
    """Return the last decision. Raises RecordConflict if it is not the one that was seen."""
    last = _last(change.conn, host, project_name)
    if seen is not None and seen != (last.approval_id if last is not None else 0):
        by = "" if last is None else f": {last.decided_by} has decided"
        raise RecordConflict(
            f"which version of {project_name} is approved has changed meanwhile{by}"
        )
    return last


def _approvals_of(host: str, project_name: str) -> sa.Select[Any]:
    return _APPROVALS.where(ApprovalTable.host == host, ApprovalTable.project_name == project_name)


def _last(conn: Connection, host: str, project_name: str) -> Approval | None:
    wanted = _approvals_of(host, project_name).order_by(ApprovalTable.id.desc()).limit(1)
    row = conn.execute(wanted).mappings().one_or_none()
    return None if row is None else record_from(Approval, row)
