"""Routes requests to pages: authentication, authorisation and error pages."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from lfv.client.errors import HostError, HostingError, PolicyError
from lfv.formats.loopback import is_local_name, is_loopback
from lfv.run.errors import ModelInUse, RunNotFound
from lfv.run.models.retrain import NothingReviewed
from lfv.ui.accounts import Visitor, new_token
from lfv.ui.context import Ui
from lfv.ui.jobs import Busy
from lfv.ui.render import page
from lfv.ui.security import (
    MOST_FORM_BYTES,
    FormTooLarge,
    host_name,
    is_from_elsewhere,
    read_form,
)
from lfv_store import ReviewTaken, Role, StoreError, StoreUnavailable, UnknownRecord

SESSION_COOKIE, VISITOR_COOKIE = "lfv_session", "lfv_visitor"
_ACTION_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,64}\Z")
_TOKEN_HEADER, TOKEN_FIELD = "x-form-token", "form_token"


@dataclass(frozen=True)
class Call:
    """A request, as passed to a page."""

    ui: Ui
    request: Request
    visitor: Visitor
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def form_token(self) -> str:
        """The token for forms of the response."""
        return self.ui.accounts.form_token(self.visitor.cookie)

    @property
    def address(self) -> str:
        """The client's network address."""
        return self.request.client.host if self.request.client else ""

    @property
    def origin(self) -> str:
        """The server's address as the browser sees it; its host is one of the server's names."""
        scheme = "https" if self.ui.options.https else self.request.url.scheme
        return f"{scheme}://{self.request.url.netloc}"

    @property
    def is_script(self) -> bool:
        """Whether the request is from a script, which expects JSON."""
        return self.request.headers.get("accept", "").startswith("application/json")

    def number(self, name: str) -> int:
        """Return a number from the path. Raises NotFound if it is not a valid id."""
        value = int(self.request.path_params[name])
        if not 0 <= value < 2**63:
            raise NotFound
        return value

    def action_token(self) -> str:
        """Return the token by which a repeated action is recognised. Raises Refused."""
        token = self.form.get("token", "")
        if not _ACTION_TOKEN.match(token):
            raise Refused("The form has no token; load the page again.")
        return token

    def query(self, name: str) -> str:
        """Return a query parameter; empty if it is missing."""
        return self.request.query_params.get(name, "")

    def page(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """Render a page."""
        return page(self, template, status=status, **values)


class NotFound(Exception):
    """There is nothing at this address."""


class Refused(Exception):
    """The request is refused; the message says why."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


Handler = Callable[[Call], Response]


def get(path: str, handler: Handler, role: Role | None = "viewer") -> Route:
    """Return the route of a page that requires `role`; None: no login is needed."""
    return Route(path, guard(handler, role), methods=["GET"])


def post(
    path: str, handler: Handler, role: Role | None, *, most_bytes: int = MOST_FORM_BYTES
) -> Route:
    """Return the route of an action that requires `role` and a form of one of the pages."""
    return Route(path, guard(handler, role, most_bytes), methods=["POST"])


def guard(
    handler: Handler, role: Role | None, most_bytes: int = 0
) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint that checks access and calls `handler` in a thread."""

    async def endpoint(request: Request) -> Response:
        ui: Ui = request.app.state.ui
        if not is_our_name(ui, request):
            return Response("unknown name of this host; see lfv ui --name\n", 421)
        form: Mapping[str, str] = {}
        if request.method == "POST":
            try:
                form = await read_form(request, most_bytes)
            except (FormTooLarge, ValueError):
                return Response("the form is too large\n", 413)
        return await run_in_threadpool(_answer, ui, request, form, handler, role)

    return endpoint


def is_our_name(ui: Ui, request: Request) -> bool:
    """Whether the browser used one of the server's names."""
    name = host_name(request)
    return is_local_name(name) or name in ui.options.hosts


def may_look(ui: Ui, request: Request) -> bool:
    """Whether a request is known, without the database, to be allowed to read pictures."""
    if not is_our_name(ui, request):
        return False
    address = request.client.host if request.client else ""
    token = request.cookies.get(SESSION_COOKIE)
    return ui.accounts.was_just_let_in(token, is_local=is_loopback(address))


def _answer(
    ui: Ui, request: Request, form: Mapping[str, str], handler: Handler, role: Role | None
) -> Response:
    cookie = request.cookies.get(VISITOR_COOKIE) or new_token()
    call = Call(ui, request, Visitor("", "viewer", cookie), form)
    try:
        visitor = _visitor(ui, request, cookie)
        if visitor is None and role is not None:
            response = _to_login(call)
        else:
            call = Call(ui, request, visitor or call.visitor, form)
            response = _authorize(call, handler, role)
    except Exception as error:
        failed = _failed(call, error)
        if failed is None:
            raise
        response = failed
    if VISITOR_COOKIE not in request.cookies:
        set_cookie(ui, response, VISITOR_COOKIE, cookie)
    return response


def _visitor(ui: Ui, request: Request, cookie: str) -> Visitor | None:
    if not ui.accounts.has_users():
        address = request.client.host if request.client else ""
        if not is_loopback(address):
            raise Refused("Without users, these pages are available on this machine only.", 403)
        return ui.accounts.local_visitor(cookie)
    token = request.cookies.get(SESSION_COOKIE)
    return ui.accounts.visitor(token) if token else None


def _authorize(call: Call, handler: Handler, role: Role | None) -> Response:
    request = call.request
    if request.method == "POST":
        token = request.headers.get(_TOKEN_HEADER) or call.form.get(TOKEN_FIELD, "")
        known = call.ui.accounts.is_form_token(call.visitor.cookie, token)
        if is_from_elsewhere(request) or not known:
            raise Refused("This form is from another page or login; load the page again.", 403)
    if role is not None and not call.visitor.may(role):
        raise Refused(f"This needs the role {role}; yours is {call.visitor.role}.", 403)
    return handler(call)


def _to_login(call: Call) -> Response:
    if call.is_script or call.request.method == "POST":
        return JSONResponse({"error": "Your session has expired; log in again."}, 401)
    target = call.request.url.path
    if call.request.url.query:
        target += f"?{call.request.url.query}"
    return RedirectResponse(f"/login?next={quote(target, safe='')}", 303)


def _failed(call: Call, error: Exception) -> Response | None:
    """Return the response to an expected error; None for others."""
    status, text = 0, str(error)
    if isinstance(error, Refused):
        status = error.status
    elif isinstance(error, NotFound | UnknownRecord | RunNotFound):
        status, text = 404, "There is nothing here." if isinstance(error, NotFound) else text
    elif isinstance(error, ReviewTaken | ModelInUse | Busy | NothingReviewed):
        status = 409
    elif isinstance(error, StoreUnavailable):
        status, text = 503, f"The results database is unavailable: {text}"
    elif isinstance(error, StoreError | PolicyError | HostingError | HostError):
        status = 400
    if not status:
        return None
    text = text[:1].upper() + text[1:]
    if call.is_script:
        return JSONResponse({"error": text}, status)
    title = {404: "Not found", 503: "Not available"}.get(status, "Not done")
    sent = call.request.method == "POST"
    return call.page("error.html", status=status, title=title, message=text, sent=sent)


def set_cookie(
    ui: Ui,
    response: Response,
    name: str,
    value: str,
    *,
    path: str = "/",
    max_age: int | None = None,
) -> None:
    """Set a cookie that scripts cannot read and other sites cannot send along with their forms."""
    response.set_cookie(
        name,
        value,
        max_age=max_age,
        httponly=True,
        samesite="lax",
        secure=ui.options.https,
        path=path,
    )
