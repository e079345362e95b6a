"""The statuses of a model."""

from __future__ import annotations

from enum import StrEnum


class ModelStatus(StrEnum):
    """ModelStatus of the API (2020-11-20). A stopped model is TRAINED again."""

    TRAINING = "TRAINING"
    TRAINED = "TRAINED"
    TRAINING_FAILED = "TRAINING_FAILED"
    STARTING_HOSTING = "STARTING_HOSTING"
    HOSTED = "HOSTED"
    HOSTING_FAILED = "HOSTING_FAILED"
    STOPPING_HOSTING = "STOPPING_HOSTING"
    SYSTEM_UPDATING = "SYSTEM_UPDATING"
    DELETING = "DELETING"

    @property
    def is_up(self) -> bool:
        """Whether inference units are running or about to run, so that hosting is billed."""
        return self in _UP

    @property
    def is_coming_up(self) -> bool:
        """Whether the model becomes HOSTED by itself, unless that fails."""
        return self in _COMING_UP


_COMING_UP = frozenset({ModelStatus.STARTING_HOSTING, ModelStatus.SYSTEM_UPDATING})
_UP = _COMING_UP | {ModelStatus.HOSTED}
