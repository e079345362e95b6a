"""An identity provider on this machine, which admits everybody and forges tokens on request."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "lfv-pages", "the client's secret"


@dataclass
class Provider:
    """Its answers and the requests it got; tests change it while it runs.

    `claims` are those of the next person. `forge` builds an ID token from claims, instead of
    signing them. `metadata` is added to the discovery document.
    """

    address: str
    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    forge: Callable[[dict[str, Any]], str] | None = None
    key: RSAKey = field(default_factory=lambda: _key("first"))
    requests: list[str] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def change_key(self) -> None:
        """Sign with another key from now on."""
        self.key = _key("second")

    def authorize(self, query: dict[str, str]) -> str:
        """The address to which the provider redirects."""
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256"
        assert len(query["state"]) >= 32
        assert len(query["nonce"]) >= 32
        code = secrets.token_urlsafe()
        self._codes[code] = query
        back = {"code": code, "state": query["state"], "iss": self.address}
        return f"{query['redirect_uri']}?{urlencode(back)}"

    def token(self, form: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """The tokens for a code, once; None for a wrong client or code."""
        expected = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        query = self._codes.pop(form.get("code", ""), None)
        if query is None or authorization != f"Basic {expected}":
            return None
        hashed = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(hashed).rstrip(b"=").decode() != query["code_challenge"]:
            return None
        assert form["redirect_uri"] == query["redirect_uri"]
        now = int(time.time())
        claims = {
            "iss": self.address,
            "aud": CLIENT,
            "sub": "1234",
            "exp": now + 60,
            "iat": now,
            "nonce": query["nonce"],
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        made = self.forge(claims) if self.forge else self.sign(claims)
        return {"access_token": "an access token", "token_type": "Bearer", "id_token": made}

    def sign(self, claims: dict[str, Any]) -> str:
        """A valid ID token."""
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)

    def discovery(self) -> dict[str, Any]:
        """The discovery document."""
        return {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "jwks_uri": f"{self.address}/keys",
            "userinfo_endpoint": f"{self.address}/userinfo",
            "end_session_endpoint": f"{self.address}/leave",
            "id_token_signing_alg_values_supported": ["RS256", "HS256", "none"],
            **self.metadata,
        }


@cache
def _key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})


@contextmanager
def identity_provider() -> Iterator[Provider]:
    """A provider that answers until exit."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    provider = Provider(f"http://127.0.0.1:{server.server_address[1]}")
    server.provider = provider  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, urlsplit(self.path).query
        provider = self._provider
        if path == "/.well-known/openid-configuration":
            self._send(provider.discovery())
        elif path == "/keys":
            self._send({"keys": [provider.key.as_dict(private=False)]})
        elif path == "/userinfo":
            assert self.headers["authorization"] == "Bearer an access token"
            self._send({"sub": "1234", **provider.userinfo})
        elif path == "/authorize":
            self.send_response(302)
            self.send_header("location", provider.authorize(_one_each(query)))
            self.end_headers()
        else:
            self._send({"error": "not_found"}, 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        tokens = self._provider.token(_one_each(body), self.headers.get("authorization", ""))
        if tokens is None:
            self._send({"error": "invalid_grant"}, 400)
        else:
            self._send(tokens)

    @property
    def _provider(self) -> Provider:
        provider: Provider = self.server.provider  # type: ignore[attr-defined]
        provider.requests.append(urlsplit(self.path).path)
        return provider

    def _send(self, content: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _one_each(text: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}
