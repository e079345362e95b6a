"""HTTP connections with bounds that uvicorn has no setting for."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from lfv.server.options import Transport


def bounded_protocol(bounds: Transport) -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol that ends connections whose client leaves something unfinished.

    That is a request's head, a body that was answered before its end, or an answer not fetched.
    """

    class BoundedProtocol(H11Protocol):
        _reading: asyncio.TimerHandle | None = None
        _writing: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > bounds.connections:
                transport.close()
                return
            self._expect(bounds.header_timeout)

        def data_received(self, data: bytes) -> None:
            try:
                super().data_received(data)
            except h11.LocalProtocolError:  # nonsense after the answer: there is no second one
                self.transport.abort()
            self._watch_reading()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch_reading()
            self._watch_flushing()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self._watch_flushing()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._expect_fetching()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._end_writing_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            self._end_reading_timer()
            self._end_writing_timer()
            super().connection_lost(exc)

        def _watch_reading(self) -> None:
            theirs = self.conn.their_state
            if theirs is h11.IDLE and self.conn.trailing_data[0]:
                self._expect(bounds.header_timeout)
            elif theirs is h11.SEND_BODY and self.conn.our_state is h11.DONE:
                self._expect(bounds.body_timeout)
            else:
                self._end_reading_timer()

        def _watch_flushing(self) -> None:
            """A closed transport waits for its buffer to be fetched, however long that takes."""
            if self.transport.is_closing() and self.transport.get_write_buffer_size():
                self._expect_fetching()

        def _expect(self, seconds: float) -> None:
            if self._reading is None:
                self._reading = self.loop.call_later(seconds, self.transport.abort)

        def _expect_fetching(self) -> None:
            if self._writing is None:
                self._writing = self.loop.call_later(bounds.body_timeout, self.transport.abort)

        def _end_reading_timer(self) -> None:
            if self._reading is not None:
                self._reading.cancel()
                self._reading = None

        def _end_writing_timer(self) -> None:
            if self._writing is not None:
                self._writing.cancel()
                self._writing = None

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
