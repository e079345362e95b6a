"""The application: routes, and the store that is open while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lfv.ui.context import UiOptions, open_ui
from lfv.ui.render import MEDIA_TYPES, asset
from lfv.ui.routing import Call, NotFound, guard
from lfv.ui.security import SecurityHeaders
from lfv.ui.views import (
    account,
    approvals,
    costs,
    masks,
    models,
    parts,
    pictures,
    policy,
    review,
    runs,
)

_FOR_EVER = "public, max-age=31536000, immutable"


def create_app(options: UiOptions) -> Starlette:
    """Return the application; its lifespan opens the store and raises StoreError if it cannot."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with ExitStack() as stack:
            app.state.ui = open_ui(options, stack)
            yield

    routes = [
        Route("/assets/{name}", _asset),
        Route("/health", _health),
        *pictures.ROUTES,  # first, because one page may request a hundred
        *(*runs.ROUTES, *parts.ROUTES, *models.ROUTES, *approvals.ROUTES, *costs.ROUTES),
        *(*review.ROUTES, *policy.ROUTES, *masks.ROUTES, *account.ROUTES),
    ]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(SecurityHeaders)],
        exception_handlers={404: _not_found, 405: _not_found},
    )


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    found = asset(name)
    if found is None:
        return PlainTextResponse("there is nothing here\n", 404)
    media_type = MEDIA_TYPES.get(name.rpartition(".")[2], "application/octet-stream")
    return Response(found, media_type=media_type, headers={"cache-control": _FOR_EVER})


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


def _raise_not_found(_call: Call) -> Response:
    raise NotFound


_no_page = guard(_raise_not_found, "viewer")


async def _not_found(request: Request, _error: Exception) -> Response:
    if request.method == "GET":
        return await _no_page(request)
    return PlainTextResponse("there is nothing here\n", 404)
