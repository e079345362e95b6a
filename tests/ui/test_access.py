"""Roles, sessions, forms, and attacks."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from starlette.routing import Route

from lfv.ui import create_app
from lfv.ui.accounts import WeakPassword, hash_password
from lfv.ui.logins import (
    MOST_FAILURES,
    MOST_RECORDED,
    FailedLogins,
    LoginLimit,
    TooManyFailures,
)
from lfv.ui.routing import SESSION_COOKIE, VISITOR_COOKIE
from lfv_store import ROLES, ModelKey, NewInspection, NewRun, NewTraining
from tests.support.ui import (
    PASSWORD,
    POLICY,
    RUN_ID,
    STARTED,
    Browser,
    Scene,
    another,
    part_picture,
    scene,
    served,
    ui_options,
)


class Elements(HTMLParser):
    """A page parsed as in a browser: attributes, and scripts that are not our files."""

    def __init__(self) -> None:
        super().__init__()
        self.found = 0
        self.attributes: set[str] = set()
        self.scripts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += 1
        self.attributes |= {name for name, _ in attrs}
        source = dict(attrs).get("src") or ""
        if tag == "script" and not source.startswith("/assets/"):
            self.scripts.append(source)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A scene with a user of each role."""
    with scene(tmp_path_factory.mktemp("access") / "home") as made:
        for role in ROLES:
            made.user(role, role)
        yield made


@pytest.fixture
def browser(place: Scene) -> Iterator[Browser]:
    with served(place) as found:
        yield found


def test_nobody_sees_anything_before_logging_in(place: Scene, browser: Browser) -> None:
    part = place.parts("reject")[0]
    digest = place.store.results.get(part)["image_sha256"]
    for address in ("/", f"/runs/{RUN_ID}", f"/parts/{part}", f"/image/{part}", "/costs"):
        answer = browser.get(address)
        assert answer.status_code == 303, address
        assert answer.headers["location"].startswith("/login?next=")
    assert browser.get(f"/thumb/{part}/{digest}").status_code == 303
    script = browser.get("/", headers={"accept": "application/json"})
    assert script.status_code == 401
    assert browser.post("/review/claim", window=browser.window).status_code == 401


@pytest.mark.parametrize("role", ROLES)
def test_each_role_has_its_permissions(place: Scene, browser: Browser, role: str) -> None:
    assert browser.log_in(role).json()["name"] == role
    allowed = ROLES.index(role)  # type: ignore[arg-type]
    assert browser.get("/").status_code == 200
    assert browser.get("/review").status_code == (200 if allowed >= 1 else 403)
    claimed = browser.post("/review/claim", window=f"{role}-window")
    assert claimed.status_code == (200 if allowed >= 1 else 403)
    browser.post("/review/release", window=f"{role}-window")
    stopped = browser.post(f"/models/{place.model_id}/stop")
    assert stopped.status_code == (409 if allowed >= 2 else 403)
    applied = browser.post(f"/runs/{RUN_ID}/policy/apply", text="", reason="")
    assert applied.status_code == (400 if allowed >= 2 else 403)


def test_a_viewer_may_take_no_action(place: Scene, browser: Browser) -> None:
    browser.log_in("viewer")
    actions = [
        route.path
        for route in create_app(ui_options(place)).routes
        if isinstance(route, Route) and "POST" in (route.methods or ())
    ]
    numbers = {"inspection:int": "1", "model:int": "1", "other:int": "1", "run": RUN_ID}
    refused = [
        browser.post(re.sub(r"\{([^}]+)\}", lambda found: numbers[found[1]], path)).status_code
        for path in actions
        if path not in ("/login", "/logout")
    ]
    assert len(refused) > 8
    assert set(refused) == {403}


def test_a_request_with_two_lengths_is_refused(place: Scene) -> None:
    with (
        served(place) as browser,
        socket.create_connection(
            (browser.client.base_url.host, browser.client.base_url.port or 0), 10
        ) as connection,
    ):
        connection.sendall(
            b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\n"
            b"Host: localhost\r\n\r\n"
        )
        answers = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answers.startswith(b"HTTP/1.1 400")
    assert answers.count(b"HTTP/1.1 ") == 1


def test_a_session_begins_with_a_new_token(browser: Browser) -> None:
    browser.client.cookies.set(SESSION_COOKIE, "chosen-by-an-attacker")
    browser.log_in("viewer")
    first = browser.client.cookies.get(SESSION_COOKIE, domain="127.0.0.1")
    assert first
    assert first != "chosen-by-an-attacker"
    browser.client.cookies.delete(SESSION_COOKIE, domain="", path="/")
    browser.client.cookies.set(SESSION_COOKIE, first, domain="127.0.0.1", path="/")
    with another(browser.client.base_url) as thief:
        thief.client.cookies.set(SESSION_COOKIE, "chosen-by-an-attacker")
        assert thief.get("/").status_code == 303
        thief.client.cookies.clear()
        thief.client.cookies.set(SESSION_COOKIE, first)
        assert thief.get("/").status_code == 200
        assert browser.post("/logout").status_code == 303
        assert thief.get("/").status_code == 303


def test_cookies_are_kept_from_scripts_and_other_sites(place: Scene) -> None:
    with served(place, https=True) as browser:
        answer = browser.get("/login")
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith(f"{VISITOR_COOKIE}=")
        for word in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
            assert word.lower() in cookie.lower()


def test_forms_of_other_sites_are_refused(browser: Browser) -> None:
    browser.log_in("admin")
    token = browser.token("/")
    for headers in (
        {},
        {"x-form-token": "0" * 64},
        {"x-form-token": token, "origin": "https://evil.example"},
        {"x-form-token": token, "sec-fetch-site": "cross-site"},
        {"x-form-token": token, "origin": "null"},
    ):
        answer = browser.client.post("/review/claim", data={"window": "w" * 10}, headers=headers)
        assert answer.status_code == 403, headers
    with another(browser.client.base_url) as other:
        other.log_in("reviewer")
        stolen = other.post("/review/claim", token, window=other.window)
        assert stolen.status_code == 403
    assert browser.client.get("/review/claim").status_code in (404, 405)


def test_guessing_passwords_is_limited(place: Scene, browser: Browser) -> None:
    for _ in range(MOST_FAILURES):
        assert browser.log_in("engineer", "wrong").status_code == 401
    late = browser.log_in("engineer", PASSWORD)
    assert late.status_code == 429
    assert int(late.headers["retry-after"]) > 60
    assert browser.log_in("admin").status_code == 200


def test_the_limit_counts_by_address_and_by_name() -> None:
    limit = LoginLimit()
    for number in range(20):
        limit.begin("10.0.0.1", f"name {number}")
    with pytest.raises(TooManyFailures):
        limit.check("10.0.0.1", "another")
    for _ in range(30):
        limit.begin("10.0.0.2", "another")
        limit.record_success("10.0.0.2", "another")
    for number in range(50):
        limit.begin(f"10.0.1.{number}", "ana")
    with pytest.raises(TooManyFailures):
        limit.begin("10.0.0.9", "ana")
    for number in range(20):
        limit.begin(f"2001:db8::{number:x}", f"name {number}")
    with pytest.raises(TooManyFailures):
        limit.check("2001:db8::ffff:1", "another")
    limit.check("2001:db8:0:1::1", "another")


def test_concurrent_guesses_of_passwords_are_counted(tmp_path: Path) -> None:
    with scene(tmp_path / "home", reviews=1) as made:
        made.user("mara", "reviewer")
        with served(made) as guesser, ThreadPoolExecutor(20) as pool:
            token = guesser.token()
            guesses = [
                pool.submit(guesser.post, "/login", token, name="mara", password=f"guess {number}")
                for number in range(20)
            ]
            answers = [guess.result().status_code for guess in guesses]
    assert sorted(answers) == [401] * MOST_FAILURES + [429] * (20 - MOST_FAILURES)


def test_an_unknown_name_reads_like_a_wrong_password(browser: Browser) -> None:
    unknown, wrong = browser.log_in("nobody", "x"), browser.log_in("viewer", "x")
    assert (unknown.status_code, unknown.json()) == (wrong.status_code, wrong.json())


def test_a_removed_user_is_logged_out_at_once(tmp_path: Path) -> None:
    with scene(tmp_path / "home") as made:
        made.user("ana", "admin")
        made.user("ben", "viewer")
        with served(made) as ben:
            assert ben.log_in("ben").status_code == 200
            made.store.users.change("ben", active=False)
            assert ben.get("/").status_code == 303
            assert ben.log_in("ben").status_code == 401


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil", "x"])
def test_logging_in_redirects_to_no_other_site(browser: Browser, target: str) -> None:
    token = browser.token()
    fields = {"name": "viewer", "password": PASSWORD, "next": target, "form_token": token}
    answer = browser.client.post("/login", data=fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_only_names_of_this_host_are_answered(browser: Browser) -> None:
    names = ("evil.example", "127.0.0.1.evil.example", "", "localhost.evil")
    for name in (*names, "localhost/evil", "localhost#@evil", "evil@localhost"):
        assert browser.get("/login", headers={"host": name}).status_code == 421, name
    assert browser.get("/login", headers={"host": "localhost:4190"}).status_code == 200


def test_without_users_other_machines_get_nothing(tmp_path: Path) -> None:
    async def status(address: str) -> int:
        app = create_app(ui_options(made))
        transport = httpx.ASGITransport(app, client=(address, 4000))
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as client,
        ):
            return (await client.get("/")).status_code

    with scene(tmp_path / "home") as made:
        assert asyncio.run(status("127.0.0.1")) == 200
        assert asyncio.run(status("192.0.2.7")) == 403


def test_responses_have_the_security_headers(place: Scene, browser: Browser) -> None:
    for address in ("/login", "/assets/style.css", "/nothing", "/health"):
        headers = browser.get(address).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "'unsafe-eval'" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
    assert browser.get("/login").headers["cache-control"] == "no-store"


def test_names_and_comments_cannot_inject_scripts(tmp_path: Path) -> None:
    evil = '<script>alert(1)</script><img src=x onerror="alert(2)">'
    with scene(tmp_path / "home", name="x' onload='alert(3)") as made, served(made) as mara:
        part, *_ = mara.claim()
        mara.review(part, "reject", comment=evil, reason=evil)
        for address in (f"/parts/{part['inspection']}", f"/runs/{RUN_ID}", f"/parts?q={evil}"):
            page = mara.get(address).text
            elements = Elements()
            elements.feed(page)
            assert elements.found
            assert elements.scripts == [], address
            assert not [name for name in elements.attributes if name.startswith("on")], address


def test_names_of_projects_and_reasons_of_approvals_cannot_inject_scripts(tmp_path: Path) -> None:
    evil = '\'"><script>alert(1)</script><img src=x onerror="alert(2)">'
    with scene(tmp_path / "home") as made, served(made) as mara:
        key = ModelKey("lookoutvision", evil, evil, evil)
        model, other = (
            made.store.models.register(replace(key, model_arn=arn, model_version=f"{arn}{evil}"))
            for arn in "ab"
        )
        made.store.trainings.record(
            NewTraining(model, evil, STARTED, evil, figures={evil: 0.5}, remarks=(evil,))
        )
        made.store.approvals.approve(
            model, decided_by=evil, reason=evil, signature={"meaning": evil}
        )
        made.store.runs.start(
            NewRun(str(uuid4()), evil, evil, evil, evil, POLICY, STARTED, model, triggered_by=evil)
        )
        for address in ("/", "/models", f"/models/{model}", f"/models/{model}/compare/{other}"):
            page = mara.get(address)
            elements = Elements()
            elements.feed(page.text)
            assert page.status_code == 200
            assert elements.found
            assert elements.scripts == [], address
            assert not [name for name in elements.attributes if name.startswith("on")], address


def test_a_reference_opens_only_the_inspected_image(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the key")
    image = tmp_path / "other.png"
    image.write_bytes(part_picture(5, damaged=False))
    with scene(tmp_path / "home") as made, served(made) as mara:
        known = made.store.results.get(made.parts("accept")[0])
        lines = [
            NewInspection(
                line_number=100 + number,
                source_ref=ref,
                inspected_at=STARTED,
                image=None,
                error_code="image_format_unsupported",
                error_message="not an image",
            )
            for number, ref in enumerate((str(secret), "../../secret.txt", "/etc/passwd"))
        ]
        made.store.runs.set_status(RUN_ID, "running", None, STARTED)
        made.store.inspections.record(RUN_ID, lines)
        for part in made.parts()[-3:]:
            answer = mara.get(f"/image/{part}")
            assert answer.status_code == 404
            assert "key" not in answer.text
        # Replacing the file shows nothing either.
        Path(known["source_ref"]).unlink()
        Path(known["source_ref"]).symlink_to(image)
        assert mara.get(f"/image/{known['inspection_id']}").status_code == 404
        for path in ("/assets/../app.py", "/assets/..%2fapp.py", "/thumb/1/..%2f..%2fsecret"):
            assert mara.get(path).status_code == 404


def test_large_forms_are_refused(browser: Browser) -> None:
    answer = browser.client.post("/login", content=b"name=" + b"x" * 300_000)
    assert answer.status_code == 413


def test_passwords_are_hashed_and_not_too_short() -> None:
    hashed = hash_password(PASSWORD)
    assert hashed.startswith("$argon2id$")
    assert PASSWORD not in hashed
    assert hash_password(PASSWORD) != hashed
    for password in ("short", "x" * 501):
        with pytest.raises(WeakPassword, match="10 to 500"):
            hash_password(password)


def test_logins_and_logouts_are_in_the_audit_log(tmp_path: Path) -> None:
    with scene(tmp_path / "home", reviews=1) as made:
        made.user("ana", "viewer")
        with served(made) as browser:
            browser.log_in("ana", "wrong password")
            browser.log_in("a password in the wrong field", "wrong password")
            browser.log_in("ana")
            browser.post("/logout")
        found = [
            (one.actor, one.action, one.subject, json.loads(one.content).get("facts"))
            for one in made.store.audit.entries()
            if one.action.partition(".")[0] in ("session", "login")
        ]
        facts = {"method": "password", "address": "127.0.0.1"}
        session = found[2][3].pop("session")
        assert found == [
            ("lfv ui", "login.failed", "ana", facts),
            ("lfv ui", "login.failed", "unknown", facts),
            ("ana", "session.opened", "ana", facts),
            ("ana", "session.closed", "ana", {"session": session}),
        ]
        assert made.store.audit.verify().ok


def test_a_brute_force_does_not_flood_the_audit_log(tmp_path: Path) -> None:
    with scene(tmp_path / "home", reviews=1) as made:
        before = sum(1 for _ in made.store.audit.entries())
        failures = FailedLogins(made.store)
        for _ in range(MOST_RECORDED + 30):
            failures.record(None, method="password", address="10.0.0.1")
        failures.count()
        entries = list(made.store.audit.entries())[before:]
        assert len(entries) == MOST_RECORDED
        failures.close()
        (last,) = list(made.store.audit.entries())[before + MOST_RECORDED :]
        assert json.loads(last.content)["facts"] == {"unrecorded_failures": 31}
        failures.close()  # and not again
        assert sum(1 for _ in made.store.audit.entries()) == before + MOST_RECORDED + 1
