"""Copies training records to models that runs know by another name."""

from __future__ import annotations

import logging
from dataclasses import fields

from lfv_store import ModelKey, NewTraining, Store

logger = logging.getLogger(__name__)


def copy_training_record(store: Store, model_id: int, key: ModelKey, training: str) -> None:
    """Copy the training record of the version that a model was trained as, if there is one.

    `training` is that version, in the same account and region, of any project. So a verdict can be
    traced to the data behind its model, even if the run knew the model by another name.
    """
    if store.trainings.of_model(model_id):
        return
    trained = store.models.find_version(training, host=key.host)
    place = _place(key.model_arn)
    for model in trained:
        records = store.trainings.of_model(model.model_id)
        if records and _place(model.key.model_arn) == place and model.model_id != model_id:
            known = {one.name: getattr(records[0], one.name) for one in fields(NewTraining)}
            remarks = (*records[0].remarks, f"trained as {training}")
            store.trainings.record(
                NewTraining(**{**known, "model_id": model_id, "remarks": remarks})
            )
            logger.info("%s is %s, whose training is recorded", key.model_version, training)
            return


def _place(arn: str) -> str:
    """Return partition, region and account of an ARN."""
    return ":".join(arn.split(":")[:5])
