"""Logging in and out, by password or by single sign-on."""

from __future__ import annotations

from urllib.parse import quote

from starlette.responses import JSONResponse, RedirectResponse, Response

from lfv.ui.logins import TooManyFailures
from lfv.ui.routing import SESSION_COOKIE, Call, NotFound, get, post, set_cookie
from lfv.ui.single_sign_on import LOGIN_SECONDS, Identity, IdentityProvider, SignOnFailed
from lfv_store import StoreError, StoreUnavailable, UnknownUser, User

#: The cookie with the state of a login at the identity provider.
_LOGIN_COOKIE = "lfv_login"
_SINGLE_SIGN_ON = "/login/single-sign-on"


def login_page(call: Call) -> Response:
    """Show the login form; redirect a visitor who is logged in."""
    if call.visitor.name:
        return RedirectResponse(_target(call.query("next")), 303)
    return _login_page(call, _target(call.query("next")))


def log_in(call: Call) -> Response:
    """Check name and password, and start a session with a new token."""
    accounts = call.ui.accounts
    name, password = call.form.get("name", "").strip(), call.form.get("password", "")
    target, address = _target(call.form.get("next", "")), call.address
    try:
        user = accounts.check_password(name, password, address)
    except TooManyFailures as held_back:
        return _refuse_attempt(call, target, held_back)
    if user is None:
        accounts.failures.record(accounts.known_name(name), method="password", address=address)
        return _refuse(call, target, "Name or password is wrong.", 401)
    return _log_in(call, user, target, method="password")


def begin_single_sign_on(call: Call) -> Response:
    """Send the browser to the identity provider."""
    target = _target(call.query("next"))
    try:
        address, sealed = _provider(call).begin(_callback_address(call), target)
    except SignOnFailed as failed:
        return _refuse(call, target, str(failed), failed.status)
    response = RedirectResponse(address, 303)
    set_cookie(call.ui, response, _LOGIN_COOKIE, sealed, path="/login", max_age=LOGIN_SECONDS)
    return response


def finish_single_sign_on(call: Call) -> Response:
    """Handle the identity provider's callback: start a session, or refuse the login."""
    accounts, request = call.ui.accounts, call.request
    provider = _provider(call)
    try:
        accounts.limit.check(call.address)
        identity, target = provider.finish(
            _callback_address(call), request.query_params, request.cookies.get(_LOGIN_COOKIE, "")
        )
        user = _user(call, identity)
    except TooManyFailures as held_back:
        return _refuse_attempt(call, "/", held_back)
    except SignOnFailed as failed:
        if failed.status < 500:
            accounts.limit.record_failure(call.address)
        accounts.failures.record(
            None, method="single sign-on", address=call.address, reason=str(failed)[:200]
        )
        response = _refuse(call, "/", str(failed), failed.status)
    else:
        response = _log_in(call, user, _target(target), method="single sign-on")
    response.delete_cookie(_LOGIN_COOKIE, path="/login")
    return response


def leave_single_sign_on(call: Call) -> Response:
    """Log out of the identity provider too, if it has a page for that."""
    back = f"{call.origin}/login"
    try:
        address = _provider(call).logout_address(back)
    except SignOnFailed as failed:
        return _refuse(call, "/", str(failed), failed.status)
    return RedirectResponse(address or "/login", 303)


def log_out(call: Call) -> Response:
    """End the session."""
    if not call.visitor.is_local:
        call.ui.accounts.log_out(call.visitor.cookie)
    response = RedirectResponse("/login?left=yes", 303)
    response.delete_cookie(SESSION_COOKIE, path="/")
    return response


def _log_in(call: Call, user: User, target: str, *, method: str) -> Response:
    """Start a session, and end the browser's previous one."""
    accounts = call.ui.accounts
    old = call.request.cookies.get(SESSION_COOKIE)
    if old:
        accounts.log_out(old)
    token = accounts.log_in(user, method=method, address=call.address)
    response = (
        JSONResponse({"name": user.name, "form_token": accounts.form_token(token)})
        if call.is_script
        else RedirectResponse(target, 303)
    )
    set_cookie(call.ui, response, SESSION_COOKIE, token)
    return response


def _user(call: Call, identity: Identity) -> User:
    """Return the active user of an identity. Raises SignOnFailed."""
    try:
        user = call.ui.store.users.sign_on(identity.subject, identity.name, identity.role)
    except StoreUnavailable:
        raise
    except UnknownUser:
        raise SignOnFailed(
            f"There is no user {identity.name!r} here; an administrator can add you."
        ) from None
    except StoreError as error:
        raise SignOnFailed(
            f"You cannot log in as {identity.name!r}: {error}. An administrator can help."
        ) from error
    if not user.active:
        raise SignOnFailed("Your account was removed; an administrator can let you in again.")
    return user


def _provider(call: Call) -> IdentityProvider:
    provider = call.ui.accounts.provider
    if provider is None:
        raise NotFound
    return provider


def _callback_address(call: Call) -> str:
    return f"{call.origin}{_SINGLE_SIGN_ON}/callback"


def _refuse_attempt(call: Call, target: str, held_back: TooManyFailures) -> Response:
    call.ui.accounts.failures.count()
    response = _refuse(call, target, str(held_back), 429)
    response.headers["retry-after"] = str(int(held_back.seconds) + 1)
    return response


def _refuse(call: Call, target: str, text: str, status: int) -> Response:
    if call.is_script:
        return JSONResponse({"error": text}, status)
    return _login_page(call, target, text, status)


def _login_page(call: Call, target: str, message: str = "", status: int = 200) -> Response:
    return call.page(
        "login.html",
        status=status,
        title="Log in",
        target=target,
        message=message,
        single_sign_on=(
            f"{_SINGLE_SIGN_ON}?next={quote(target, safe='')}"
            if call.ui.accounts.provider is not None
            else None
        ),
        leave=f"{_SINGLE_SIGN_ON}/leave" if call.query("left") else None,
    )


def _target(value: str) -> str:
    """Return the page to go to, which is never on another site."""
    is_ours = value.startswith("/") and not value.startswith(("//", "/\\"))
    return value if is_ours and value.isprintable() else "/"


ROUTES = [
    get("/login", login_page, None),
    post("/login", log_in, None),
    get(_SINGLE_SIGN_ON, begin_single_sign_on, None),
    get(f"{_SINGLE_SIGN_ON}/callback", finish_single_sign_on, None),
    get(f"{_SINGLE_SIGN_ON}/leave", leave_single_sign_on, None),
    post("/logout", log_out, "viewer"),
]
