"""Images, thumbnails and marks."""

from __future__ import annotations

import re
from hashlib import sha256

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lfv.run.pictures import Picture, PictureGone, fit_size
from lfv.ui.context import Ui
from lfv.ui.routing import Call, NotFound, get, guard, may_look

#: Pictures of recorded bytes never change, but the users who may see them do. A browser keeps them
#: for an hour, and only for the session that fetched them.
KEPT = {"cache-control": "private, max-age=3600", "vary": "Cookie"}
_SIZE = re.compile(r"(\d{1,4})x(\d{1,4})\Z")
_LARGEST = 4096


def image(call: Call) -> Response:
    """Return the image in its full size."""
    try:
        picture = call.ui.pictures.image(call.number("inspection"))
    except PictureGone as gone:
        return _gone_response(gone)
    return _response(call.request, picture, sha256(picture.data).hexdigest())


def thumbnail(call: Call) -> Response:
    """Return a thumbnail. Its address has the digest, so a cached one needs no database."""
    digest = call.request.path_params["sha256"]
    picture = call.ui.pictures.cached_thumbnail(digest)
    if picture is not None:
        return _response(call.request, picture, digest)
    try:
        picture = call.ui.pictures.thumbnail(call.number("inspection"))
    except PictureGone as gone:
        return _gone_response(gone)
    # The address may have another digest than the inspection.
    return _response(call.request, picture, sha256(picture.data).hexdigest())


_guarded_thumbnail = guard(thumbnail, "viewer")


async def quick_thumbnail(request: Request) -> Response:
    """Return a cached thumbnail to a user whose access was just checked; otherwise draw it.

    Needs neither a thread nor the database, so a screen of a hundred is shown at once.
    """
    ui: Ui = request.app.state.ui
    if may_look(ui, request):
        digest = request.path_params["sha256"]
        kept = ui.pictures.cached_thumbnail(digest)
        if kept is not None:
            return _response(request, kept, digest)
    return await _guarded_thumbnail(request)


def marks(call: Call) -> Response:
    """Return the marks of a detection as a layer over its image."""
    size = _SIZE.match(call.request.path_params["size"])
    if size is None:
        raise NotFound
    width, height = int(size[1]), int(size[2])
    if not (0 < width <= _LARGEST and 0 < height <= _LARGEST):
        raise NotFound
    try:
        picture = call.ui.pictures.marks(call.number("detection"), (width, height))
    except PictureGone as gone:
        return _gone_response(gone)
    return _response(call.request, picture, sha256(picture.data).hexdigest())


def marks_address(detection: int, width: int, height: int, *, small: bool) -> str:
    """Return the address of a detection's marks."""
    if small:
        width, height = fit_size(width, height)
    return f"/marks/{detection}/{width}x{height}"


def _response(request: Request, picture: Picture, tag: str) -> Response:
    """Return a picture, or 304 if the browser's copy is current; `tag` identifies its content."""
    headers = {**KEPT, "etag": f'"{tag}"', "content-disposition": "inline"}
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    return Response(picture.data, media_type=picture.media_type, headers=headers)


def _gone_response(gone: PictureGone) -> Response:
    return JSONResponse({"error": str(gone)}, 404)


ROUTES = [
    get("/image/{inspection:int}", image),
    Route("/thumb/{inspection:int}/{sha256}", quick_thumbnail, methods=["GET"]),
    get("/marks/{detection:int}/{size}", marks),
]
