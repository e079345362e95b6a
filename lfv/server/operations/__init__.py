"""The operations of the API, by resource.

An operation's handler has its name in snake case. It turns decoded members into the answer's.
"""

from botocore import xform_name

from lfv.client.api.service_model import service_model
from lfv.server.operations import datasets, hosting, models, packaging, projects, tags
from lfv.server.operations.call import Call, Handler

_MODULES = (projects, datasets, models, hosting, packaging, tags)
#: All but DetectAnomalies, which goes to the inference units and not to the database.
HANDLERS: dict[str, Handler] = {
    operation: getattr(module, xform_name(operation))
    for operation in service_model().operation_names
    for module in _MODULES
    if hasattr(module, xform_name(operation))
}

__all__ = ["HANDLERS", "Call", "Handler"]
