"""A TCP proxy on this machine whose connections can be cut, restored and silenced.

While cut, its port stays reserved and refuses connections, like that of a server that is down.
While silent, it accepts connections and returns nothing.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close breaks off, as a crash does
_CHUNK = 65536


class Proxy:
    """A proxy to (host, port) `target`; connect to `port` on 127.0.0.1."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._listener: socket.socket | None = None
        self._silent = threading.Event()
        # Bound and never listening: reserves the port while cut.
        self._reservation = _bound(0)
        self.port: int = self._reservation.getsockname()[1]
        self.mend()

    def mend(self) -> None:
        """Let connections through (again)."""
        self._silent.clear()
        if self._listener is None:
            self._listener = _bound(self.port)
            self._listener.listen(128)
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Break every connection and refuse new ones."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()
        self._break_off()

    def silence(self) -> None:
        """Break every connection, and leave new ones without an answer."""
        self._silent.set()
        self._break_off()

    def close(self) -> None:
        """Break every connection and free the port."""
        self.cut()
        self._reservation.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        server = socket.socket()
        pair = (client, server)
        with self._lock:
            self._pairs.add(pair)
        if self._silent.is_set():
            return
        try:
            server.connect(self._target)
        except OSError:
            self._drop(pair)
            return
        threading.Thread(target=self._pump, args=(pair, server, client), daemon=True).start()
        self._pump(pair, client, server)

    def _pump(
        self, pair: tuple[socket.socket, socket.socket], source: socket.socket, to: socket.socket
    ) -> None:
        try:
            while data := source.recv(_CHUNK):
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(pair)

    def _break_off(self) -> None:
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            self._drop(pair)

    def _drop(self, pair: tuple[socket.socket, socket.socket]) -> None:
        with self._lock:
            self._pairs.discard(pair)
        for end in pair:
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextmanager
def proxy_to(host: str, port: int) -> Iterator[Proxy]:
    """A proxy that forwards everything until a test changes it."""
    proxy = Proxy((host, port))
    try:
        yield proxy
    finally:
        proxy.close()


def _bound(port: int) -> socket.socket:
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    found.bind(("127.0.0.1", port))
    return found
