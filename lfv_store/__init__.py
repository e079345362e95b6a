"""Results, leases, costs and audit in SQL. Start with open_store(); records/ has the data."""

from lfv_store.approvals import Approval
from lfv_store.errors import (
    HostingStopping,
    InvalidRecord,
    RecordConflict,
    ReviewTaken,
    SchemaForeign,
    SchemaOutdated,
    SchemaTooNew,
    StoreError,
    StoreUnavailable,
    UnknownHosting,
    UnknownInspection,
    UnknownLease,
    UnknownModel,
    UnknownRecord,
    UnknownRun,
    UnknownUser,
)
from lfv_store.prunings import OldMasks, Signature
from lfv_store.records.hostings import Hosting, HostingCost, Lease
from lfv_store.records.inspections import (
    ImageFacts,
    KnownDetection,
    NewDetection,
    NewInspection,
    PendingItem,
    StoredDetection,
)
from lfv_store.records.models import Model, ModelKey, ModelPace, NewTraining, Training
from lfv_store.records.object_claims import Claims, KnownObjects, ObjectClaim, ObjectStamp, Retries
from lfv_store.records.reviews import ClaimedReview, NewReview, Review
from lfv_store.records.runs import NewRun, Run, RunCounts
from lfv_store.records.users import ROLES, Role, User
from lfv_store.records.verdicts import Decision, NewVerdict
from lfv_store.reviewing.same_picture import GIVEN_ON
from lfv_store.store import Store, open_store

__all__ = [
    "GIVEN_ON",
    "ROLES",
    "Approval",
    "ClaimedReview",
    "Claims",
    "Decision",
    "Hosting",
    "HostingCost",
    "HostingStopping",
    "ImageFacts",
    "InvalidRecord",
    "KnownDetection",
    "KnownObjects",
    "Lease",
    "Model",
    "ModelKey",
    "ModelPace",
    "NewDetection",
    "NewInspection",
    "NewReview",
    "NewRun",
    "NewTraining",
    "NewVerdict",
    "ObjectClaim",
    "ObjectStamp",
    "OldMasks",
    "PendingItem",
    "RecordConflict",
    "Retries",
    "Review",
    "ReviewTaken",
    "Role",
    "Run",
    "RunCounts",
    "SchemaForeign",
    "SchemaOutdated",
    "SchemaTooNew",
    "Signature",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "StoredDetection",
    "Training",
    "UnknownHosting",
    "UnknownInspection",
    "UnknownLease",
    "UnknownModel",
    "UnknownRecord",
    "UnknownRun",
    "UnknownUser",
    "User",
    "open_store",
]
