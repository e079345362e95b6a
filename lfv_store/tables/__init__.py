"""The store's tables, as SQLAlchemy sees them. `Base.metadata` is what `alembic check` compares."""

from __future__ import annotations

from lfv_store.tables.base import Base
from lfv_store.tables.facts import (
    AnomalyTable,
    ApprovalTable,
    AuditLogTable,
    DecisionTable,
    DetectionTable,
    ImageTable,
    InspectionAttributeTable,
    InspectionTable,
    MaskTable,
    ModelTable,
    PolicyTable,
    ReviewTable,
    TrainingTable,
    VerdictTable,
)
from lfv_store.tables.people import (
    ReviewLeaseTable,
    SecondReviewTable,
    SessionTable,
    UserTable,
)
from lfv_store.tables.state import (
    AnomalyTallyTable,
    AnswerTallyTable,
    HostingTable,
    HostingUsageTable,
    LeaseHeartbeatTable,
    LeaseTable,
    ModelPaceTable,
    PendingItemTable,
    RunProgressTable,
    RunTable,
    RunWorkerTable,
    TallyTable,
)
from lfv_store.tables.watermarks import (
    WatermarkObjectTable,
    WatermarkRunTable,
    WatermarkSourceTable,
)

__all__ = [
    "AnomalyTable",
    "AnomalyTallyTable",
    "AnswerTallyTable",
    "ApprovalTable",
    "AuditLogTable",
    "Base",
    "DecisionTable",
    "DetectionTable",
    "HostingTable",
    "HostingUsageTable",
    "ImageTable",
    "InspectionAttributeTable",
    "InspectionTable",
    "LeaseHeartbeatTable",
    "LeaseTable",
    "MaskTable",
    "ModelPaceTable",
    "ModelTable",
    "PendingItemTable",
    "PolicyTable",
    "ReviewLeaseTable",
    "ReviewTable",
    "RunProgressTable",
    "RunTable",
    "RunWorkerTable",
    "SecondReviewTable",
    "SessionTable",
    "TallyTable",
    "TrainingTable",
    "UserTable",
    "VerdictTable",
    "WatermarkObjectTable",
    "WatermarkRunTable",
    "WatermarkSourceTable",
]
