"""Images, thumbnails and marks."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lfv.run.pictures import Picture, PictureGone, fitted
from lfv.ui.context import Ui
from lfv.ui.routing import Call, NotFound, get, guarded, may_look

#: Pictures of recorded bytes never change; a browser keeps them for itself alone.
_KEPT = "private, max-age=604800, immutable"
_SIZE = re.compile(r"(\d{1,4})x(\d{1,4})\Z")
_LARGEST = 4096


def image(call: Call) -> Response:
    """The image in its full size."""
    try:
        return _response(call.ui.pictures.image(call.number("inspection")))
    except PictureGone as gone:
        return _gone(gone)


def thumbnail(call: Call) -> Response:
    """A small picture. Its address has the digest, so that one made before needs no database."""
    kept = call.ui.pictures.kept_thumbnail(call.request.path_params["sha256"])
    if kept is not None:
        return _response(kept)
    try:
        return _response(call.ui.pictures.thumbnail(call.number("inspection")))
    except PictureGone as gone:
        return _gone(gone)


_guarded_thumbnail = guarded(thumbnail, "viewer")


async def quick_thumbnail(request: Request) -> Response:
    """A thumbnail that was made before, for somebody who was let in just now; else the usual way.

    Neither a thread nor the database is needed, so a screen of a hundred is there at once.
    """
    ui: Ui = request.app.state.ui
    if may_look(ui, request):
        kept = ui.pictures.kept_thumbnail(request.path_params["sha256"])
        if kept is not None:
            return _response(kept)
    return await _guarded_thumbnail(request)


def marks(call: Call) -> Response:
    """The marks of a detection as a layer to lay over its image."""
    size = _SIZE.match(call.request.path_params["size"])
    if size is None:
        raise NotFound
    width, height = int(size[1]), int(size[2])
    if not (0 < width <= _LARGEST and 0 < height <= _LARGEST):
        raise NotFound
    try:
        return _response(call.ui.pictures.marks(call.number("detection"), (width, height)))
    except PictureGone as gone:
        return _gone(gone)


def marks_address(detection: int, width: int, height: int, *, small: bool) -> str:
    """The address of a detection's marks."""
    if small:
        width, height = fitted(width, height)
    return f"/marks/{detection}/{width}x{height}"


def _response(picture: Picture) -> Response:
    headers = {"cache-control": _KEPT, "content-disposition": "inline"}
    return Response(picture.data, media_type=picture.media_type, headers=headers)


def _gone(gone: PictureGone) -> Response:
    return JSONResponse({"error": str(gone)}, 404)


ROUTES = [
    get("/image/{inspection:int}", image),
    Route("/thumb/{inspection:int}/{sha256}", quick_thumbnail, methods=["GET"]),
    get("/marks/{detection:int}/{size}", marks),
]
