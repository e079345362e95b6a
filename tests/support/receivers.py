"""Receivers of messages on this machine: a webhook, mail, and any address with HTTPS."""

from __future__ import annotations

import json
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass
class Webhook:
    """The JSON documents posted to `url`."""

    url: str = ""
    posted: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Mailbox:
    """Mail received at `port`."""

    port: int = 0
    mails: list[Message] = field(default_factory=list)

    def texts(self) -> list[str]:
        """Subject and body of each."""
        return [f"{mail['Subject']}\n{_body(mail)}" for mail in self.mails]


def _body(mail: Message) -> str:
    part = mail.get_payload(0) if mail.is_multipart() else mail
    assert isinstance(part, Message)
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content.decode()


@contextmanager
def webhook() -> Iterator[Webhook]:
    """A receiver of JSON."""
    found = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            found.posted.append(json.loads(self.rfile.read(length)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/hook"
    with _serving(server):
        yield found


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """A mail server that accepts everything."""
    found = Mailbox()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 here")
            while line := self.rfile.readline():
                word = line.split(b" ")[0].strip().upper()
                if word == b"DATA":
                    self._say("354 go on")
                    found.mails.append(message_from_bytes(self._data()))
                    self._say("250 taken")
                elif word == b"QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say("250 ok")

        def _data(self) -> bytes:
            lines = []
            while (line := self.rfile.readline()) not in {b".\r\n", b""}:
                lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
            return b"".join(lines)

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.port = server.server_address[1]
    with _serving(server):
        yield found


@dataclass
class Anywhere:
    """What processes with `environment` posted over HTTPS, by host."""

    environment: dict[str, str] = field(default_factory=dict)
    posted: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


@contextmanager
def anywhere(folder: Path, *hosts: str) -> Iterator[Anywhere]:
    """A proxy that answers for these hosts itself, with a certificate made in `folder`."""
    found = Anywhere()
    certificate, key = folder / "hosts.pem", folder / "hosts.key"
    names = ",".join(f"DNS:{host}" for host in hosts)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-subj", "/CN=receiver", "-addext", f"subjectAltName={names}"]
    command += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Posted(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.posted.append((self.headers["Host"].partition(":")[0], content))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    class Tunnel(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            self.send_response(200)
            self.end_headers()
            with context.wrap_socket(self.connection, server_side=True) as secure:
                Posted(secure, self.client_address, self.server)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Tunnel)
    found.environment = {
        "HTTPS_PROXY": f"http://127.0.0.1:{server.server_port}",
        "REQUESTS_CA_BUNDLE": str(certificate),
    }
    with _serving(server):
        yield found


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
