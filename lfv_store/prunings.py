"""Prunings: who deleted what and how much of it, recorded in the audit log only.

Masks are the only audited data that can be deleted, and only under a signature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from lfv_store.audit.change import Change, commit
from lfv_store.audit.entries import PRUNED, PRUNED_MASKS
from lfv_store.clean_text import clean
from lfv_store.errors import InvalidRecord
from lfv_store.repository import Repository
from lfv_store.tables import AuditLogTable, DetectionTable, InspectionTable, MaskTable

#: Masks deleted, and named in the audit entry, by one change.
_TOGETHER = 500


@dataclass(frozen=True, slots=True)
class Signature:
    """Who is responsible for a deletion, and why. The caller has verified the person."""

    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class OldMasks:
    """Masks of answers that no recent inspection uses."""

    number: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class MaskDeletion:
    """When a mask was deleted, and who signed for it."""

    at: datetime
    by: str


class Prunings(Repository):
    """`store.prunings`."""

    def record(
        self,
        by: str,
        what: str,
        *,
        older_than_days: float,
        number: int,
        size_bytes: int | None = None,
        runs: Sequence[str] = (),
    ) -> None:
        """Record a deletion that is about to happen.

        Args:
            by: Who deletes.
            what: "reports", "pictures" or "flow-runs".
            older_than_days: The minimum age in days of what is deleted.
            number: How many are deleted.
            size_bytes: Their total size, if known.
            runs: Ids of the runs whose reports are deleted.
        """
        facts: dict[str, object] = {"older_than_days": older_than_days, "number": number}
        facts |= {"size_bytes": size_bytes, "runs": list(runs) or None}

        def work(change: Change) -> None:
            change.state(**{name: value for name, value in facts.items() if value is not None})

        commit(self._database, clean(by), PRUNED, what, work)

    def old_masks(self, before: datetime) -> OldMasks:
        """Return the masks of answers given, and last used by an inspection, before a time."""
        chosen = _old(before).subquery()
        with self._database.read() as conn:
            number, size = conn.execute(
                sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(chosen.c.size), 0))
            ).one()
        return OldMasks(int(number), int(size))

    def deletion_of_mask(self, detection_id: int) -> MaskDeletion | None:
        """Return the deletion of a detection's mask from the audit log, or None."""
        log = AuditLogTable
        wanted = sa.select(log.at, log.actor, log.content).where(
            log.subject == PRUNED_MASKS, log.action == PRUNED
        )
        with self._database.read() as conn:
            for at, actor, content in conn.execute(wanted.order_by(log.seq)):
                if detection_id in (content.get("facts", {}).get("masks") or ()):
                    return MaskDeletion(at, actor)
        return None

    def compact(self) -> tuple[int, int] | None:
        """Return an SQLite file's free space to the disk, and its size before and after, in bytes.

        Returns None on PostgreSQL, which does this by itself. Others can read meanwhile; writers
        wait. Raises StoreUnavailable while another process writes, StoreError if the disk has no
        room for a copy; the file is then unchanged.
        """
        return self._database.compact()

    def delete_masks(
        self, before: datetime, signature: Signature, *, older_than_days: float
    ) -> OldMasks:
        """Delete the masks that `old_masks` returns. The audit log names each mask and the signer.

        The database's account must own the tables; triggers refuse others. Answers keep the
        SHA-256 of their masks. Raises InvalidRecord without a name and a reason.
        """
        signed = Signature(clean(signature.by), clean(signature.reason))
        if not signed.by.strip() or not signed.reason.strip():
            raise InvalidRecord("deleting masks needs a name and a reason")

        def work(change: Change) -> tuple[int, int]:
            found = _find(change.conn, before)
            ids = [mask for mask, _ in found]
            size = sum(size for _, size in found)
            if ids:
                with change.dialect.disable_guard(change.conn, MaskTable.__tablename__):
                    change.conn.execute(sa.delete(MaskTable).where(MaskTable.detection_id.in_(ids)))
                change.state(
                    older_than_days=older_than_days,
                    number=len(ids),
                    size_bytes=size,
                    masks=ids,
                    signature=asdict(signed),
                )
            return len(ids), size

        number = size = 0
        while True:
            more, bytes_more = commit(self._database, signed.by, PRUNED, PRUNED_MASKS, work)
            number, size = number + more, size + bytes_more
            if more < _TOGETHER:
                return OldMasks(number, size)


def _old(before: datetime) -> sa.Select[int, int]:
    used_since = sa.exists().where(
        InspectionTable.detection_id == DetectionTable.id, InspectionTable.inspected_at >= before
    )
    return (
        sa.select(MaskTable.detection_id, sa.func.length(MaskTable.png).label("size"))
        .join(DetectionTable, DetectionTable.id == MaskTable.detection_id)
        .where(DetectionTable.detected_at < before, ~used_since)
    )


def _find(conn: Connection, before: datetime) -> list[tuple[int, int]]:
    rows = conn.execute(_old(before).order_by(MaskTable.detection_id).limit(_TOGETHER))
    return [(int(mask), int(size)) for mask, size in rows]
