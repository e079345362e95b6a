"""The operations of the API, by resource. A handler turns decoded members into the answer's."""

from lfv.server.operations import datasets, hosting, models, packaging, projects, tags
from lfv.server.operations.call import Call, Handler

#: All but DetectAnomalies, which goes to the inference units and not to the database.
HANDLERS: dict[str, Handler] = {
    **projects.HANDLERS,
    **datasets.HANDLERS,
    **models.HANDLERS,
    **hosting.HANDLERS,
    **packaging.HANDLERS,
    **tags.HANDLERS,
}

__all__ = ["HANDLERS", "Call", "Handler"]
