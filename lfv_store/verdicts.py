"""New decisions on a recorded run: verdicts by another policy, added to the earlier ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice

import sqlalchemy as sa

from lfv_store.audit.canonical import Cell
from lfv_store.audit.change import Change, commit
from lfv_store.clean_text import clean, json_text
from lfv_store.errors import InvalidRecord, UnknownInspection
from lfv_store.records.base import VERDICTS, JsonObject
from lfv_store.records.inspections import StoredDetection
from lfv_store.records.verdicts import Decision, NewVerdict, VerdictHistory
from lfv_store.repository import Repository
from lfv_store.runs import lock_run, require_run, store_policy
from lfv_store.tables import (
    DecisionTable,
    DetectionTable,
    ImageTable,
    InspectionTable,
    PolicyTable,
    RunTable,
    VerdictTable,
)
from lfv_store.tallies import current_verdict, joins_later_verdict, recount_tallies
from lfv_store.views import VERDICT_HISTORY

_BATCH = 2000
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class _OpenDecision:
    """A decision whose verdicts are being stored; `run` is the run's internal id."""

    run: int
    decision_id: int
    number: int


#: Knuth's multiplicative hash of a line's number, so that periodic lines do not bias a sample.
_MULTIPLIER, _SCATTER = 2_654_435_761, 2**32


def _scatter_key() -> sa.ColumnElement[int]:
    number = sa.cast(InspectionTable.line_number, sa.BigInteger)
    return (number * sa.literal(_MULTIPLIER, sa.BigInteger)) % sa.literal(_SCATTER, sa.BigInteger)


class Verdicts(Repository):
    """`store.verdicts`."""

    def candidates(
        self,
        run_id: str,
        *,
        share: float = 1.0,
        labelled: bool = False,
        lines: Sequence[int] | None = None,
    ) -> Iterator[StoredDetection]:
        """Yield the inspections of a run that have an answer, by line number.

        Reads page by page, so that memory is bounded and writers are not blocked. A `share` below
        1 yields a sample of about that share: the same lines each time, scattered over the run.
        `labelled` yields those with a label only, `lines` those of some hundred lines.
        """
        wanted: list[sa.ColumnElement[bool]] = []
        if share < 1.0:
            wanted.append(_scatter_key() < int(share * _SCATTER))
        if labelled:
            wanted.append(InspectionTable.expected_is_anomalous.is_not(None))
        if lines is not None:
            wanted.append(InspectionTable.line_number.in_(lines))
        after = 0
        while page := self._candidates(run_id, after, wanted):
            yield from page
            after = page[-1].line_number

    def _candidates(
        self, run_id: str, after: int, wanted: Sequence[sa.ColumnElement[bool]]
    ) -> list[StoredDetection]:
        with self._database.read() as conn:
            run = require_run(conn, run_id)
            rows = conn.execute(
                sa.select(
                    InspectionTable.id.label("inspection_id"),
                    InspectionTable.line_number,
                    InspectionTable.source_ref,
                    InspectionTable.attributes,
                    InspectionTable.expected_is_anomalous,
                    InspectionTable.expected_mask_ref,
                    current_verdict().label("verdict"),
                    DetectionTable.id.label("detection_id"),
                    DetectionTable.response,
                    DetectionTable.mask_sha256.is_not(None).label("has_mask"),
                    ImageTable.sha256.label("image_sha256"),
                )
                .join(DetectionTable, DetectionTable.id == InspectionTable.detection_id)
                .join(ImageTable, ImageTable.id == InspectionTable.image_id)
                .join(RunTable, RunTable.id == InspectionTable.run_id)
                .outerjoin(VerdictTable, joins_later_verdict())
                .where(
                    InspectionTable.run_id == run,
                    InspectionTable.line_number > after,
                    InspectionTable.verdict.is_not(None),
                    *wanted,
                )
                .order_by(InspectionTable.line_number)
                .limit(_PAGE)
            )
            return [StoredDetection(**row) for row in rows.mappings()]

    def add(
        self,
        run_id: str,
        policy: JsonObject,
        verdicts: Iterable[NewVerdict],
        *,
        decided_by: str = "",
        reason: str = "",
        signature: JsonObject | None = None,
    ) -> Decision:
        """Add a decision: a policy and its verdicts. It takes effect once all are stored.

        Batches are committed one by one. A decision that is cut short has no effect. An inspection
        without a new verdict keeps its first one.

        Raises UnknownRun, UnknownInspection, InvalidRecord.
        """
        decided_by, reason = clean(decided_by or self._actor), clean(reason)
        decision = self._begin(run_id, policy, decided_by, reason, signature)
        source = iter(verdicts)
        while batch := list(islice(source, _BATCH)):
            self._record(run_id, decision, batch)
        self._take_effect(run_id, decision)
        return next(found for found in self.decisions(run_id) if found.number == decision.number)

    def _begin(
        self,
        run_id: str,
        policy: JsonObject,
        decided_by: str,
        reason: str,
        signature: JsonObject | None,
    ) -> _OpenDecision:
        def work(change: Change) -> _OpenDecision:
            run = lock_run(change.conn, run_id)
            policy_id = store_policy(change, policy)
            newest = change.conn.scalar(
                sa.select(sa.func.max(DecisionTable.number)).where(DecisionTable.run_id == run)
            )
            number = (newest or 0) + 1
            decision_id = change.insert(
                "decisions",
                run_id=run,
                number=number,
                policy_id=policy_id,
                decided_by=decided_by,
                decided_at=change.now,
                reason=reason,
                signature=signature,
            )
            return _OpenDecision(run, decision_id, number)

        return commit(self._database, self._actor, "decision.begun", run_id, work)

    def _record(self, run_id: str, decision: _OpenDecision, batch: Sequence[NewVerdict]) -> None:
        def work(change: Change) -> None:
            lock_run(change.conn, run_id)
            _write(change, decision.run, decision.decision_id, batch)

        commit(self._database, self._actor, "verdicts.recorded", run_id, work)

    def _take_effect(self, run_id: str, decision: _OpenDecision) -> None:
        def work(change: Change) -> None:
            lock_run(change.conn, run_id)
            change.update(
                "runs",
                decision.run,
                current_decision=decision.number,
                later_decision_id=decision.decision_id,
            )
            recount_tallies(change, decision.run)

        commit(self._database, self._actor, "decision.effective", run_id, work)

    def decisions(self, run_id: str) -> Sequence[Decision]:
        """Return all decisions on a run, the oldest first."""
        counted = (
            sa.select(sa.func.count())
            .where(VerdictTable.decision_id == DecisionTable.id)
            .correlate(DecisionTable)
            .scalar_subquery()
        )
        with self._database.read() as conn:
            run = require_run(conn, run_id)
            rows = conn.execute(
                sa.select(
                    DecisionTable.number,
                    DecisionTable.decided_by,
                    DecisionTable.decided_at,
                    DecisionTable.reason,
                    DecisionTable.signature,
                    PolicyTable.content.label("policy"),
                    PolicyTable.sha256.label("policy_sha256"),
                    counted.label("verdicts"),
                    (RunTable.current_decision == DecisionTable.number).label("current"),
                )
                .join(PolicyTable, PolicyTable.id == DecisionTable.policy_id)
                .join(RunTable, RunTable.id == DecisionTable.run_id)
                .where(DecisionTable.run_id == run)
                .order_by(DecisionTable.number)
            )
            return [Decision(run_id=run_id, **row) for row in rows.mappings()]

    def history(self, inspection_id: int) -> Sequence[VerdictHistory]:
        """Return all of an inspection's verdicts by policies, the oldest first.

        Raises UnknownInspection.
        """
        with self._database.read() as conn:
            rows = conn.execute(
                sa.select(*(VERDICT_HISTORY.c[field.name] for field in fields(VerdictHistory)))
                .where(VERDICT_HISTORY.c.inspection_id == inspection_id)
                .order_by(VERDICT_HISTORY.c.decision)
            )
            history = [VerdictHistory(**row) for row in rows.mappings()]
        if not history:
            raise UnknownInspection(f"no inspection with a verdict has id {inspection_id}")
        return history


def _write(change: Change, run: int, decision_id: int, batch: Sequence[NewVerdict]) -> None:
    wanted = [item.inspection_id for item in batch]
    known = dict(
        change.dialect.select_in(
            change.conn, "inspections", ("id", "verdict"), "id", wanted, run_id=run
        )
    )
    rows: list[dict[str, Cell]] = []
    for position, item in enumerate(batch):
        if item.inspection_id not in known:
            raise UnknownInspection(f"inspection {item.inspection_id} is not of this run")
        if item.verdict not in VERDICTS or known[item.inspection_id] is None:
            raise InvalidRecord(
                f"inspection {item.inspection_id}: {item.verdict!r} is not a verdict,"
                " or the inspection is an error and has no answer to decide on"
            )
        rows.append(
            {
                "id": change.first_id + position,
                "decision_id": decision_id,
                "inspection_id": item.inspection_id,
                "verdict": item.verdict,
                "reasons": json_text(list(item.reasons)),
            }
        )
    change.insert_bulk("verdicts", rows)
