"""StartModel and StopModel."""

from __future__ import annotations

from lfv.formats.words import count_of
from lfv.server.errors import QuotaExceededError, ValidationError
from lfv.server.lifecycle import ModelEvent
from lfv.server.operations.call import Call, Members
from lfv.server.state import models


def start_model(call: Call, members: Members) -> Members:
    model = call.model(members)
    low, high = members["MinInferenceUnits"], members.get("MaxInferenceUnits")
    if high is not None and high < low:
        raise ValidationError(f"MaxInferenceUnits ({high}) is less than MinInferenceUnits ({low})")
    moved = models.move(call.tx, model, ModelEvent.START, "The model is being started.")
    in_use, allowed = models.units_in_use(call.tx), call.limits.inference_units
    # The model already counts as in use, with the units of its previous hosting.
    in_use += (high or low) - (model.max_units or model.min_units or 0)
    if in_use > allowed:
        raise QuotaExceededError(
            f"with this model {count_of(in_use, 'inference unit')} would be in use;"
            f" the limit is {allowed}",
            "inference-units",
            model.name,
            "MODEL",
        )
    models.set_units(call.tx, moved, low, high)
    call.after_commit(lambda: call.work.hosting.host(model.id))
    return {"Status": moved.status}


def stop_model(call: Call, members: Members) -> Members:
    model = call.model(members)
    moved = models.move(call.tx, model, ModelEvent.STOP, "The model is being stopped.")
    call.after_commit(lambda: call.work.hosting.unhost(model.id))
    return {"Status": moved.status}
