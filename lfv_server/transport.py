"""HTTP connections with bounds that uvicorn has no setting for."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from lfv_server.options import Transport


def bounded_protocol(bounds: Transport) -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol that also ends connections whose headers don't come to an end."""

    class BoundedProtocol(H11Protocol):
        _header_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > bounds.connections:
                transport.close()
                return
            self._watch_headers(waiting=True)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch_headers(
                waiting=self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
            )

        def connection_lost(self, exc: Exception | None) -> None:
            self._watch_headers(waiting=False)
            super().connection_lost(exc)

        def _watch_headers(self, *, waiting: bool) -> None:
            if not waiting and self._header_timer is not None:
                self._header_timer.cancel()
                self._header_timer = None
            elif waiting and self._header_timer is None:
                timeout = bounds.header_timeout
                self._header_timer = self.loop.call_later(timeout, self.transport.abort)

    return BoundedProtocol


class Server(uvicorn.Server):
    """Tells when it listens, and leaves the process alive after a signal, to clean up."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        await super().startup(sockets=sockets)  # type: ignore[arg-type]
        self._listening()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        caught = (signal.SIGINT, signal.SIGTERM)
        for number in caught:
            with contextlib.suppress(RuntimeError, ValueError):  # not in the main thread
                loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in caught:
                with contextlib.suppress(RuntimeError, ValueError):
                    loop.remove_signal_handler(number)
