"""HTTP connections with limits for which uvicorn has no settings.

``H11Protocol`` is not part of uvicorn's public interface, but no public interface gives access to
connections with unfinished requests. So pyproject.toml bounds uvicorn's version from above, and
tests/server/test_hostile_connections.py fails if a new version behaves differently.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from lfv.server.options import Transport


def bounded_protocol(bounds: Transport) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP protocol with limits on the number of connections and on their time.

    A connection is aborted if its client does not complete a request's head, does not complete a
    body that was answered before its end, or does not read the response.
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
            except h11.LocalProtocolError:  # invalid data after the response: send no second one
                self.transport.abort()
            self._watch_reading()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch_reading()
            self._watch_closing()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self._watch_closing()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._expect_reader()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop_writing_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_reading_timer()
            self._stop_writing_timer()
            super().connection_lost(exc)

        def _watch_reading(self) -> None:
            theirs = self.conn.their_state
            if theirs is h11.IDLE and self.conn.trailing_data[0]:
                self._expect(bounds.header_timeout)
            elif theirs is h11.SEND_BODY and self.conn.our_state is h11.DONE:
                self._expect(bounds.body_timeout)
            else:
                self._stop_reading_timer()

        def _watch_closing(self) -> None:
            """Limit how long a closing transport waits for the client to read its buffer."""
            if self.transport.is_closing() and self.transport.get_write_buffer_size():
                self._expect_reader()

        def _expect(self, seconds: float) -> None:
            if self._reading is None:
                self._reading = self.loop.call_later(seconds, self.transport.abort)

        def _expect_reader(self) -> None:
            if self._writing is None:
                self._writing = self.loop.call_later(bounds.body_timeout, self.transport.abort)

        def _stop_reading_timer(self) -> None:
            if self._reading is not None:
                self._reading.cancel()
                self._reading = None

        def _stop_writing_timer(self) -> None:
            if self._writing is not None:
                self._writing.cancel()
                self._writing = None

    return BoundedProtocol
