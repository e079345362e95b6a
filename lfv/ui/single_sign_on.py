"""Single sign-on by OpenID Connect: authorization code flow with PKCE, state and nonce.

provider.begin(address, target)   -> where to send the browser, and the cookie to set
provider.finish(...)              -> the user, from the browser's callback

SignOnFailed            the login is refused; the message says why
└── ProviderUnavailable the identity provider does not answer as it should
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet, OctKey

from lfv.settings import Settings, is_https_or_loopback
from lfv_store import ROLES, Role

#: How long a login may take, from the page to the provider and back.
LOGIN_SECONDS = 600
_LEEWAY_SECONDS = 60
_TIMEOUT_SECONDS = 10.0
_METADATA_SECONDS = 3600.0
_KEYS_SECONDS = 60.0
_LONGEST_SUBJECT = 255
#: Signatures with a public key. Never `none` or algorithms with a shared key.
_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class SignOnFailed(Exception):
    """A login by single sign-on is refused."""

    status = 401


class ProviderUnavailable(SignOnFailed):
    """The identity provider cannot be reached, or does not answer as it should."""

    status = 503


@dataclass(frozen=True)
class Identity:
    """The identity asserted by the provider; `role` is None if roles are assigned here."""

    subject: str
    name: str
    role: Role | None


class IdentityProvider:
    """The identity provider of the settings. Thread-safe."""

    def __init__(self, settings: Settings, secret: bytes) -> None:
        assert settings.oidc_issuer is not None  # noqa: S101 - or there is no provider
        self._issuer = settings.oidc_issuer
        self._settings = settings
        self._seal = OctKey.import_key(secret)
        self._lock = threading.Lock()
        self._metadata: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, KeySet] | None = None

    def begin(self, redirect_uri: str, target: str) -> tuple[str, str]:
        """Return where to send the browser, and the cookie to set.

        `target` is the page to show after the login. Raises ProviderUnavailable.
        """
        begun = {
            "state": secrets.token_urlsafe(32),
            "nonce": secrets.token_urlsafe(32),
            "verifier": secrets.token_urlsafe(48),
            "target": target,
        }
        with self._session(redirect_uri) as session:
            address, _ = session.create_authorization_url(
                self._discover()["authorization_endpoint"],
                state=begun["state"],
                nonce=begun["nonce"],
                code_verifier=begun["verifier"],
            )
        sealed = jwt.encode(
            {"alg": "HS256"}, {**begun, "exp": int(time.time()) + LOGIN_SECONDS}, self._seal
        )
        return str(address), sealed

    def finish(
        self, redirect_uri: str, parameters: Mapping[str, str], sealed: str
    ) -> tuple[Identity, str]:
        """Return the user and the page to continue to, from the `parameters` of the callback.

        Raises SignOnFailed.
        """
        begun = self._unseal(sealed)
        if not hmac.compare_digest(parameters.get("state", "").encode(), begun["state"].encode()):
            raise SignOnFailed("The answer belongs to another login. Log in again.")
        if parameters.get("iss", self._issuer) != self._issuer:
            raise SignOnFailed("The answer is from another identity provider. Log in again.")
        if "code" not in parameters:
            reason = parameters.get("error", "no reason given")[:100]
            raise SignOnFailed(f"The identity provider refused the login ({reason}).")
        claims = self._claims(redirect_uri, parameters["code"], begun)
        return self._identity(claims), begun["target"]

    def logout_address(self, back: str) -> str | None:
        """Return the provider's logout page, or None."""
        found = self._discover().get("end_session_endpoint")
        if not isinstance(found, str) or not is_https_or_loopback(found):
            return None
        query = urlencode(
            {"client_id": self._settings.oidc_client_id, "post_logout_redirect_uri": back}
        )
        return f"{found}{'&' if '?' in found else '?'}{query}"

    def _unseal(self, sealed: str) -> dict[str, Any]:
        try:
            token = jwt.decode(sealed, self._seal, algorithms=["HS256"])
            jwt.JWTClaimsRegistry(exp={"essential": True}).validate(token.claims)
        except (JoseError, ValueError):
            raise SignOnFailed("The login took too long, or began elsewhere. Try again.") from None
        return token.claims

    def _claims(self, redirect_uri: str, code: str, begun: Mapping[str, str]) -> dict[str, Any]:
        """Exchange the code for an ID token, and return its claims with those of the user info."""
        found = self._discover()
        with self._session(redirect_uri) as session:
            try:
                token = session.fetch_token(
                    found["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=begun["verifier"],
                    timeout=_TIMEOUT_SECONDS,
                )
            except requests.RequestException as error:
                raise _unavailable(error) from error
            except (AuthlibBaseError, ValueError, TypeError) as error:
                raise SignOnFailed("The identity provider refused the login's code.") from error
            claims = self._check_claims(token, begun["nonce"])
            wanted = {self._settings.oidc_name_claim, self._settings.oidc_role_claim} - {None}
            endpoint = found.get("userinfo_endpoint")
            if endpoint and any(_claim(claims, str(name)) is None for name in wanted):
                more = self._json(session, endpoint, withhold_token=False)
                if more.get("sub") == claims["sub"]:
                    claims = {**more, **claims}
        return claims

    def _check_claims(self, token: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """Verify an ID token's signature, audience, time and nonce, and return its claims."""
        text = token.get("id_token")
        if not isinstance(text, str):
            raise SignOnFailed("The identity provider sent no ID token.")
        client = self._settings.oidc_client_id
        required: dict[str, Any] = {
            "iss": {"essential": True, "value": self._issuer},
            "aud": {"essential": True, "value": client},
            "nonce": {"essential": True, "value": nonce},
        }
        given = {"nonce": nonce, "client_id": client, "access_token": token.get("access_token")}
        try:
            decoded = self._decode(text)
            claims = CodeIDToken(decoded.claims, decoded.header, required, given)
            claims.validate(leeway=_LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError) as error:
            raise SignOnFailed(f"The ID token is not valid: {str(error)[:100]}.") from error
        return dict(claims)

    def _decode(self, text: str) -> jwt.Token:
        offered = self._discover().get("id_token_signing_alg_values_supported", ["RS256"])
        allowed = [algorithm for algorithm in _ALGORITHMS if algorithm in offered]
        try:
            return jwt.decode(text, self._key_set(), algorithms=allowed)
        except InvalidKeyIdError:  # the provider has changed its keys
            return jwt.decode(text, self._key_set(again=True), algorithms=allowed)

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        subject, settings = claims["sub"], self._settings
        if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT:
            raise SignOnFailed("The ID token is not valid: invalid_claim: sub.")
        name = _claim(claims, settings.oidc_name_claim)
        if not isinstance(name, str) or not name.strip():
            raise SignOnFailed(
                f"The identity provider sends no claim {settings.oidc_name_claim}; "
                "LFV_OIDC_NAME_CLAIM names another."
            )
        if settings.oidc_name_claim == "email" and claims.get("email_verified") is False:
            raise SignOnFailed("The identity provider has not verified your address.")
        role = None
        if settings.oidc_role_claim is not None:
            role = self._role(_claim(claims, settings.oidc_role_claim))
        return Identity(f"{self._issuer} {subject}", name, role)

    def _role(self, value: object) -> Role:
        """Return the highest role among the values of the role claim."""
        values = value if isinstance(value, list) else [value]
        given = {str(one) for one in values if isinstance(one, str)}
        mapping = self._settings.oidc_roles or {role: role for role in ROLES}
        found = {mapping[group] for group in given if group in mapping}
        for role in reversed(ROLES):
            if role in found:
                return role
        raise SignOnFailed("Your account has no role here; an administrator can give it one.")

    def _session(self, redirect_uri: str) -> OAuth2Session:
        settings = self._settings
        method = None
        if settings.oidc_client_secret:
            known = self._discover().get("token_endpoint_auth_methods_supported")
            if known and "client_secret_basic" not in known and "client_secret_post" in known:
                method = "client_secret_post"
        return OAuth2Session(
            settings.oidc_client_id,
            settings.oidc_client_secret or None,
            token_endpoint_auth_method=method,
            scope=settings.oidc_scope,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
        )

    def _discover(self) -> dict[str, Any]:
        """Return the provider's metadata, cached for an hour. Raises ProviderUnavailable."""
        with self._lock:
            if self._metadata and time.monotonic() - self._metadata[0] < _METADATA_SECONDS:
                return self._metadata[1]
            with OAuth2Session() as session:
                address = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
                found = self._json(session, address)
            if found.get("issuer") != self._issuer:
                raise ProviderUnavailable(
                    f"The identity provider calls itself {str(found.get('issuer'))[:200]!r}, which "
                    "is not LFV_OIDC_ISSUER."
                )
            for name in _ENDPOINTS:
                if not is_https_or_loopback(str(found.get(name, ""))):
                    raise ProviderUnavailable(f"The identity provider has no usable {name}.")
            self._metadata = (time.monotonic(), found)
            return found

    def _key_set(self, *, again: bool = False) -> KeySet:
        """Return the provider's public keys; `again` reloads them, at most once a minute."""
        address = self._discover()["jwks_uri"]
        with self._lock:
            age = time.monotonic() - self._keys[0] if self._keys else _METADATA_SECONDS
            if self._keys and age < (_KEYS_SECONDS if again else _METADATA_SECONDS):
                return self._keys[1]
            with OAuth2Session() as session:
                found = self._json(session, address)
            try:
                keys = KeySet.import_key_set(cast("Any", found))
            except (JoseError, ValueError, KeyError, TypeError) as error:
                raise ProviderUnavailable("The identity provider's keys are not usable.") from error
            self._keys = (time.monotonic(), keys)
            return keys

    @staticmethod
    def _json(
        session: OAuth2Session, address: str, *, withhold_token: bool = True
    ) -> dict[str, Any]:
        try:
            answer = session.get(
                address,
                withhold_token=withhold_token,
                timeout=_TIMEOUT_SECONDS,
                allow_redirects=False,
            )
            answer.raise_for_status()
            found = answer.json()
        except (requests.RequestException, AuthlibBaseError, ValueError) as error:
            raise _unavailable(error) from error
        if not isinstance(found, dict):
            raise ProviderUnavailable("The identity provider does not answer as it should.")
        return found


def _unavailable(error: Exception) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"The identity provider is unavailable ({type(error).__name__}). Try again later."
    )


def _claim(claims: Mapping[str, Any], name: str) -> object:
    """Return a claim by its name or its dotted path (`realm_access.roles`)."""
    if name in claims:
        return claims[name]
    found: object = claims
    for part in name.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found
