"""DetectAnomalies: checks images and sends them to inference units."""

from __future__ import annotations

import asyncio
from typing import Any

from lfv.formats.host_kinds import LATEST
from lfv.formats.image_headers import sniff
from lfv.formats.images import CONTENT_TYPES
from lfv.formats.status import ModelStatus
from lfv.server.database import Database
from lfv.server.errors import ConflictError, InternalError, InvalidImageError
from lfv.server.hosting.manager import HostingManager
from lfv.server.hosting.pool import Pool
from lfv.server.state import models, projects
from lfv.server.state.models import Model

#: Types that clients send for any bytes; the image's type is then read from its bytes.
_UNSPECIFIC_TYPES = ("binary/octet-stream", "application/octet-stream")


class Detector:
    def __init__(self, database: Database, hosting: HostingManager) -> None:
        self._database = database
        self._hosting = hosting

    async def pool(self, project_name: str, version: str) -> Pool:
        """Return the model's units. Raises NotFoundError, or ConflictError if it is not hosted.

        No public source says which of the two the original raised for a model that is not hosted.
        """
        if version != LATEST and (pool := self._hosting.find(project_name, version)):
            return pool
        model = await asyncio.to_thread(self._model, project_name, version)
        if pool := self._hosting.find(project_name, str(model.version)):
            return pool
        # HOSTED without units: they were just lost, or the service is ending.
        state = "losing its units" if model.status == ModelStatus.HOSTED else model.status
        raise ConflictError(
            f"model {model.name} is {state}; it answers only while HOSTED", model.name, "MODEL"
        )

    def _model(self, project_name: str, version: str) -> Model:
        with self._database.transaction() as tx:
            return models.get(tx, projects.get(tx, project_name), version)

    async def detect(
        self, pool: Pool, body: bytes, content_type: str, *, with_map: bool = False
    ) -> dict[str, Any]:
        """Return a DetectAnomalyResult. Raises InvalidImageError, and what Pool.detect raises.

        Args:
            pool: The model's units.
            body: The image's bytes.
            content_type: The image's type, as declared by the client.
            with_map: Whether to add an AnomalyMap, if the model has one.
        """
        kind = content_type.partition(";")[0].strip().lower()
        if kind not in CONTENT_TYPES.values() and kind not in _UNSPECIFIC_TYPES:
            raise InvalidImageError(
                f"the content type {content_type[:100]!r} is neither image/png nor image/jpeg"
            )
        found = sniff(body)
        if found not in CONTENT_TYPES:
            raise InvalidImageError("the image is neither PNG nor JPEG")
        if kind in _UNSPECIFIC_TYPES:
            kind = CONTENT_TYPES[found]
        elif CONTENT_TYPES[found] != kind:
            raise InvalidImageError(f"the image is {found}, not {kind}")
        answer = await pool.detect(body, kind, with_map=with_map)
        if "rejected" in answer.head:
            raise InvalidImageError(answer.head["rejected"])
        if "broke" in answer.head:
            raise InternalError(f"the model failed on this image: {answer.head['broke']}")
        result: dict[str, Any] = answer.head["answer"]
        if "Anomalies" in result:
            result["AnomalyMask"] = answer.mask
        if answer.heat_map:
            result["AnomalyMap"] = answer.heat_map
        return result
