"""The states of models, datasets and packaging jobs, as data.

``MODEL_TRANSITIONS`` is the state machine of a model: the events that each state allows, and the
state after each. Nothing else changes a status.
"""

from __future__ import annotations

from enum import StrEnum

from lfv.formats.status import ModelStatus


class ModelEvent(StrEnum):
    TRAINING_ENDED = "training ended"
    TRAINING_BROKE = "training broke"
    START = "start requested"
    UNITS_READY = "inference units ready"
    UNITS_BROKE = "inference units broke"
    STOP = "stop requested"
    UNITS_STOPPED = "inference units stopped"
    SERVICE_RESTARTED = "service restarted"
    EMBEDDED_RESTARTED = "embedded service restarted"
    DELETE = "delete requested"


_S, _E = ModelStatus, ModelEvent

MODEL_TRANSITIONS: dict[tuple[ModelStatus, ModelEvent], ModelStatus] = {
    (_S.TRAINING, _E.TRAINING_ENDED): _S.TRAINED,
    (_S.TRAINING, _E.TRAINING_BROKE): _S.TRAINING_FAILED,
    (_S.TRAINED, _E.START): _S.STARTING_HOSTING,
    (_S.HOSTING_FAILED, _E.START): _S.STARTING_HOSTING,
    (_S.STARTING_HOSTING, _E.UNITS_READY): _S.HOSTED,
    (_S.STARTING_HOSTING, _E.UNITS_BROKE): _S.HOSTING_FAILED,
    (_S.HOSTED, _E.UNITS_BROKE): _S.HOSTING_FAILED,
    (_S.STARTING_HOSTING, _E.STOP): _S.STOPPING_HOSTING,
    (_S.HOSTED, _E.STOP): _S.STOPPING_HOSTING,
    (_S.SYSTEM_UPDATING, _E.STOP): _S.STOPPING_HOSTING,
    (_S.HOSTING_FAILED, _E.STOP): _S.STOPPING_HOSTING,
    (_S.STOPPING_HOSTING, _E.UNITS_STOPPED): _S.TRAINED,
    # A hosted model is hosted again after a restart. Until then it is SYSTEM_UPDATING.
    (_S.HOSTED, _E.SERVICE_RESTARTED): _S.SYSTEM_UPDATING,
    (_S.SYSTEM_UPDATING, _E.SERVICE_RESTARTED): _S.SYSTEM_UPDATING,
    (_S.SYSTEM_UPDATING, _E.UNITS_READY): _S.HOSTED,
    (_S.SYSTEM_UPDATING, _E.UNITS_BROKE): _S.HOSTING_FAILED,
    (_S.STARTING_HOSTING, _E.SERVICE_RESTARTED): _S.STARTING_HOSTING,
    (_S.STOPPING_HOSTING, _E.SERVICE_RESTARTED): _S.TRAINED,
    (_S.TRAINING, _E.SERVICE_RESTARTED): _S.TRAINING,
    # The clients of an embedded service have ended, so its work is not continued.
    (_S.HOSTED, _E.EMBEDDED_RESTARTED): _S.TRAINED,
    (_S.SYSTEM_UPDATING, _E.EMBEDDED_RESTARTED): _S.TRAINED,
    (_S.STARTING_HOSTING, _E.EMBEDDED_RESTARTED): _S.TRAINED,
    (_S.STOPPING_HOSTING, _E.EMBEDDED_RESTARTED): _S.TRAINED,
    (_S.HOSTING_FAILED, _E.EMBEDDED_RESTARTED): _S.TRAINED,
    (_S.TRAINING, _E.EMBEDDED_RESTARTED): _S.TRAINING_FAILED,
    (_S.TRAINED, _E.DELETE): _S.DELETING,
    (_S.TRAINING_FAILED, _E.DELETE): _S.DELETING,
    (_S.HOSTING_FAILED, _E.DELETE): _S.DELETING,
}

HAS_ARTIFACT = frozenset(_S) - {_S.TRAINING, _S.TRAINING_FAILED, _S.DELETING}


class DatasetStatus(StrEnum):
    CREATE_IN_PROGRESS = "CREATE_IN_PROGRESS"
    CREATE_COMPLETE = "CREATE_COMPLETE"
    CREATE_FAILED = "CREATE_FAILED"
    UPDATE_IN_PROGRESS = "UPDATE_IN_PROGRESS"
    UPDATE_COMPLETE = "UPDATE_COMPLETE"
    UPDATE_FAILED_ROLLBACK_COMPLETE = "UPDATE_FAILED_ROLLBACK_COMPLETE"


DATASET_BUSY = frozenset({DatasetStatus.CREATE_IN_PROGRESS, DatasetStatus.UPDATE_IN_PROGRESS})
DATASET_USABLE = frozenset(
    {
        DatasetStatus.CREATE_COMPLETE,
        DatasetStatus.UPDATE_COMPLETE,
        DatasetStatus.UPDATE_FAILED_ROLLBACK_COMPLETE,
    }
)


class PackagingStatus(StrEnum):
    CREATED = "CREATED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
