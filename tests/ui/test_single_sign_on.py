"""Single sign-on with an identity provider on this machine, which may lie."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from lfv.settings import LfvSettingsError, get_settings
from lfv.ui.routing import SESSION_COOKIE
from tests.support.identity_provider import CLIENT, SECRET, Provider, identity_provider
from tests.support.ui import Browser, Scene, another, scene, served

START = "/login/single-sign-on"
CALLBACK = "/login/single-sign-on/callback"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with identity_provider() as provider:
        provider.claims |= {"preferred_username": "Mara Lind", "groups": ["quality", "staff"]}
        yield provider


@pytest.fixture
def place(tmp_path: Path, provider: Provider) -> Iterator[Scene]:
    """A scene whose pages know the provider, and take roles from the claim `groups`."""
    with scene(tmp_path / "home", reviews=1) as made:
        yield with_provider(made, provider)


def with_provider(place: Scene, provider: Provider, **settings: Any) -> Scene:
    given = {
        "home": place.settings.home,
        "oidc_issuer": provider.address,
        "oidc_client_id": CLIENT,
        "oidc_client_secret": SECRET,
        "oidc_role_claim": "groups",
        "oidc_roles": "quality=reviewer,plant-it=admin",
        **settings,
    }
    return replace(place, settings=get_settings(**given))


@pytest.fixture
def browser(place: Scene) -> Iterator[Browser]:
    with served(place) as browser:
        yield browser


def to_provider(browser: Browser, target: str = "/parts") -> httpx.Response:
    """Log in at the provider; return its redirect, not followed."""
    there = browser.get(START, params={"next": target})
    assert there.status_code == 303, there.text
    with httpx.Client(trust_env=False) as client:
        return client.get(there.headers["location"])


def log_in(browser: Browser, target: str = "/parts", **changed: str) -> Any:
    """Log in at the provider, and bring back its answer with some parameters changed."""
    back = urlsplit(to_provider(browser, target).headers["location"])
    query = dict(pair.split("=", 1) for pair in back.query.split("&"))
    query = {name: httpx.URL(f"?{name}={value}").params[name] for name, value in query.items()}
    return browser.get(f"{back.path}?{urlencode(query | changed)}")


def actions(place: Scene) -> list[tuple[str, str, dict[str, Any]]]:
    """Entries of the audit log on logins: action, subject, facts."""
    return [
        (one.action, one.subject, json.loads(one.content).get("facts", {}))
        for one in place.store.audit.entries()
        if one.action.partition(".")[0] in ("session", "login")
    ]


def test_a_user_is_added_at_the_first_login_and_found_again(
    place: Scene, provider: Provider, browser: Browser
) -> None:
    assert browser.get("/parts").headers["location"] == "/login?next=%2Fparts"
    page = browser.get("/login?next=/parts").text
    assert 'href="/login/single-sign-on?next=%2Fparts"' in page
    answer = log_in(browser, "/parts?q=FL-1")
    assert answer.headers["location"] == "/parts?q=FL-1"
    assert "Mara Lind, reviewer" in browser.get("/").text
    # Another name there is the same user here, and the role is updated.
    provider.claims |= {"preferred_username": "Mara Berg", "groups": "plant-it"}
    with another(browser.client.base_url) as second:
        assert log_in(second).status_code == 303
        assert "Mara Lind, admin" in second.get("/").text
    (user,) = place.store.users.list()
    assert (user.name, user.role, user.subject) == (
        "Mara Lind",
        "admin",
        f"{provider.address} 1234",
    )
    left = browser.get(START + "/leave")
    assert left.headers["location"].startswith(f"{provider.address}/leave?client_id=lfv-pages&")
    found = [(action, subject, facts.get("method")) for action, subject, facts in actions(place)]
    assert found == [("session.opened", "Mara Lind", "single sign-on")] * 2
    assert place.store.audit.verify().ok


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"nonce": "of another login"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"aud": "another-client"}, "aud"),
        ({"aud": [CLIENT, "another"], "azp": "another"}, "azp"),
        ({"iss": "https://evil.example"}, "iss"),
        ({"exp": 1_700_000_000}, "expired"),
        ({"exp": None}, "exp"),
        ({"iat": int(time.time()) + 3600}, "ID token is not valid"),
        ({"sub": ""}, "sub"),
        ({"sub": {"a": "b"}}, "sub"),
        ({"sub": "x" * 256}, "sub"),
        ({"preferred_username": None}, "preferred_username"),
        ({"groups": ["staff"]}, "no role"),
        ({"groups": None}, "no role"),
        ({"groups": {"quality": True}}, "no role"),
        ({"preferred_username": "x" * 101}, "100 printable"),
    ],
)
def test_an_id_token_with_a_wrong_claim_is_refused(
    place: Scene, provider: Provider, browser: Browser, wrong: dict[str, Any], reason: str
) -> None:
    provider.claims |= wrong
    answer = log_in(browser)
    assert answer.status_code == 401
    assert reason in answer.text
    assert SESSION_COOKIE not in browser.client.cookies
    ((action, subject, facts),) = actions(place)
    assert (action, subject, facts["method"]) == ("login.failed", "unknown", "single sign-on")
    assert reason in facts["reason"]


def _unsigned(claims: dict[str, Any]) -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts).decode() + "."


def test_an_id_token_that_the_provider_has_not_signed_is_refused(
    provider: Provider, browser: Browser
) -> None:
    other = RSAKey.generate_key(2048, {"kid": "first"})
    public = provider.key.as_pem(private=False)
    forged = {
        "alg none": _unsigned,
        "another key": lambda claims: jwt.encode({"alg": "RS256", "kid": "first"}, claims, other),
        "its public key as a secret": lambda claims: jwt.encode(
            {"alg": "HS256"}, claims, OctKey.import_key(base64.urlsafe_b64encode(public).decode())
        ),
        "the client's secret": lambda claims: jwt.encode(
            {"alg": "HS256"}, claims, OctKey.import_key(SECRET * 2)
        ),
        "not a token": lambda _: "a.b.c",
    }
    for name, forge in forged.items():
        provider.forge = forge
        answer = log_in(browser)
        assert answer.status_code == 401, name
        assert "ID token is not valid" in answer.text, name
    provider.forge = None
    assert log_in(browser).status_code == 303


def test_a_changed_key_of_the_provider_is_read_again(
    provider: Provider, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert log_in(browser).status_code == 303
    provider.change_key()
    asked = provider.requests.count("/keys")
    assert log_in(browser).status_code == 401  # not within a minute, whoever asks for it
    assert provider.requests.count("/keys") == asked
    monkeypatch.setattr("lfv.ui.single_sign_on._KEYS_SECONDS", 0.0)
    assert log_in(browser).status_code == 303


def test_an_answer_without_a_login_here_is_refused(provider: Provider, browser: Browser) -> None:
    assert log_in(browser, state="of an attacker").status_code == 401
    assert log_in(browser, iss="https://evil.example").status_code == 401
    assert log_in(browser, code="guessed").status_code == 401
    # A victim cannot finish an attacker's login, and no login finishes twice.
    back = to_provider(browser).headers["location"]
    with another(browser.client.base_url) as victim:
        assert victim.get(back).status_code == 401
        assert SESSION_COOKIE not in victim.client.cookies
    assert browser.get(back).status_code == 303
    assert browser.get(back).status_code == 401
    error = urlencode({"error": "<script>alert(1)</script>"})
    state = httpx.URL(browser.get(START).headers["location"]).params["state"]
    refused = browser.get(f"{CALLBACK}?{error}&state={state}")
    assert refused.status_code == 401
    assert "refused the login" in refused.text
    assert "<script>alert" not in refused.text


def test_no_redirect_leads_to_another_site(browser: Browser) -> None:
    for target in ("https://evil.example", "//evil.example", "/\\evil.example", "/\n//evil"):
        answer = log_in(browser, target)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/"


def test_a_name_that_has_a_password_is_not_taken_over(
    place: Scene, provider: Provider, browser: Browser
) -> None:
    place.user("Mara Lind", "admin")
    answer = log_in(browser)
    assert answer.status_code == 401
    assert "with a password" in answer.text
    provider.claims["sub"] = "first"
    provider.claims["preferred_username"] = "Ben"
    assert log_in(browser).status_code == 303
    provider.claims["sub"] = "second"
    taken = log_in(browser)
    assert taken.status_code == 401
    assert "another account" in taken.text


def test_roles_given_here_and_users_that_were_removed(place: Scene, provider: Provider) -> None:
    local = with_provider(place, provider, oidc_role_claim=None, oidc_roles=None)
    with served(local) as browser:
        unknown = log_in(browser)
        assert unknown.status_code == 401
        assert "There is no user" in unknown.text
        place.store.users.add("Mara Lind", "engineer")
        assert log_in(browser).status_code == 303
        assert "Mara Lind, engineer" in browser.get("/").text
        place.store.users.change("Mara Lind", active=False)
        assert browser.get("/").status_code == 303
        removed = log_in(browser)
        assert removed.status_code == 401
        assert "removed" in removed.text


def test_claims_that_only_userinfo_has(place: Scene, provider: Provider) -> None:
    provider.claims |= {"groups": None}
    provider.userinfo = {"realm_access": {"roles": ["viewer", "engineer", "owner"]}}
    keycloak = with_provider(place, provider, oidc_role_claim="realm_access.roles", oidc_roles=None)
    with served(keycloak) as browser:
        assert log_in(browser).status_code == 303
        assert "Mara Lind, engineer" in browser.get("/").text
        provider.userinfo |= {"sub": "somebody else"}
        assert log_in(browser).status_code == 401


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"issuer": "https://evil.example"}, "is not LFV_OIDC_ISSUER"),
        ({"token_endpoint": "http://evil.example/token"}, "no usable token_endpoint"),
        ({"authorization_endpoint": None}, "no usable authorization_endpoint"),
    ],
)
def test_an_invalid_provider_is_not_used(
    place: Scene, provider: Provider, metadata: dict[str, Any], reason: str
) -> None:
    provider.metadata = metadata
    with served(place) as browser:
        answer = browser.get(START)
        assert answer.status_code == 503
        assert reason in answer.text


def test_a_provider_that_is_unavailable(place: Scene, provider: Provider) -> None:
    away = with_provider(place, provider, oidc_issuer="http://127.0.0.1:9")
    away.user("ben", "viewer")
    with served(away) as browser:
        answer = browser.get(START)
        assert answer.status_code == 503
        assert "identity provider is unavailable" in answer.text
        assert browser.get("/").status_code == 303  # nobody is logged in
        assert browser.log_in("ben").status_code == 200


def test_settings_of_single_sign_on_are_checked(tmp_path: Path) -> None:
    with pytest.raises(LfvSettingsError, match="https"):
        get_settings(home=tmp_path, oidc_issuer="http://idp.example", oidc_client_id="x")
    with pytest.raises(LfvSettingsError, match="oidc_client_id"):
        get_settings(home=tmp_path, oidc_issuer="https://idp.example")
    with pytest.raises(LfvSettingsError, match="oidc_roles"):
        get_settings(home=tmp_path, oidc_roles="staff=owner")
    assert SECRET not in repr(get_settings(home=tmp_path, oidc_client_secret=SECRET))
