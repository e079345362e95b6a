"""Logging in and out."""

from __future__ import annotations

from starlette.responses import JSONResponse, RedirectResponse, Response

from lfv.ui.routing import SESSION_COOKIE, Call, get, post, set_cookie


def login_page(call: Call) -> Response:
    """The form; somebody who is known already goes on."""
    if call.visitor.name:
        return RedirectResponse(_target(call.query("next")), 303)
    return call.page("login.html", title="Log in", target=_target(call.query("next")), message="")


def log_in(call: Call) -> Response:
    """Check name and password, and begin a session with a new token."""
    accounts, request = call.ui.accounts, call.request
    name, password = call.form.get("name", "").strip(), call.form.get("password", "")
    target = _target(call.form.get("next", ""))
    address = request.client.host if request.client else ""
    wait = accounts.limit.wait_seconds(address, name)
    if wait:
        text = f"Too many wrong passwords. Try again in {wait / 60:.0f} minutes."
        response = _refused(call, target, text, 429)
        response.headers["retry-after"] = str(int(wait) + 1)
        return response
    user = accounts.check_password(name, password)
    if user is None:
        accounts.limit.failed(address, name)
        return _refused(call, target, "Name or password is wrong.", 401)
    accounts.limit.succeeded(address, name)
    old = request.cookies.get(SESSION_COOKIE)
    if old:
        accounts.log_out(old)
    token = accounts.log_in(user)
    response = (
        JSONResponse({"name": user.name, "form_token": accounts.form_token(token)})
        if call.is_script
        else RedirectResponse(target, 303)
    )
    set_cookie(call.ui, response, SESSION_COOKIE, token)
    return response


def log_out(call: Call) -> Response:
    """End the session."""
    if not call.visitor.is_local:
        call.ui.accounts.log_out(call.visitor.cookie)
    response = RedirectResponse("/login", 303)
    response.delete_cookie(SESSION_COOKIE, path="/")
    return response


def _refused(call: Call, target: str, text: str, status: int) -> Response:
    if call.is_script:
        return JSONResponse({"error": text}, status)
    return call.page("login.html", status=status, title="Log in", target=target, message=text)


def _target(value: str) -> str:
    """A page of ours to go on to, and never another site."""
    is_ours = value.startswith("/") and not value.startswith(("//", "/\\"))
    return value if is_ours and value.isprintable() else "/"


ROUTES = [
    get("/login", login_page, None),
    post("/login", log_in, None),
    post("/logout", log_out, "viewer"),
]
