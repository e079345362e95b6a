"""One inference unit, from the service's side."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Coroutine
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lfv.server.hosting import frames
from lfv.server.options import Limits, Serving


class UnitLostError(Exception):
    """The process died, did not answer in time, or could not load its model."""


class UnloadableError(UnitLostError):
    """The unit cannot load its model, and another unit could not either."""


class UnitTimeoutError(UnitLostError):
    """The unit took too long over an image, and another unit would too."""


@dataclass(frozen=True)
class UnitAnswer:
    head: dict[str, Any]
    mask: bytes
    #: Empty if it was not requested, or if the model has none.
    heat_map: bytes


@dataclass(frozen=True)
class UnitSpec:
    artifact: Path
    engine: str
    limits: Limits
    serving: Serving


class Unit:
    """A process that answers one request at a time. Unusable after UnitLostError.

    ``launch`` starts the process, which imports the engine; ``start`` also loads a model.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._answer_timeout = 0.0

    @classmethod
    async def launch(cls, engine: str) -> Unit:
        """Start the process, without waiting until the engine is imported. Raises UnitLostError.

        If the call is cancelled, the process has ended when CancelledError is raised.
        """
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "lfv.launch", "lfv.server.hosting.unit_process"]
        command += [str(theirs.fileno()), engine]
        ours.setblocking(False)
        try:
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            ours.close()
            theirs.close()
            raise
        launch = asyncio.create_task(asyncio.to_thread(_launch, command, theirs))
        try:
            # Shielded, because a thread cannot be cancelled and its process would be left running.
            process = await asyncio.shield(launch)
        except OSError as error:
            writer.close()
            raise UnitLostError(f"no process could be started: {error}") from error
        except BaseException:
            writer.close()
            await run_to_end(_discard(launch))
            raise
        return cls(process, reader, writer)

    @classmethod
    async def start(cls, spec: UnitSpec, spare: Unit | None = None) -> Unit:
        """Load the model in a process and wait until it is ready. Raises UnitLostError.

        Args:
            spec: What to load.
            spare: A unit that was launched ahead for this engine, used if it still runs.

        If the call is cancelled, the process has ended when CancelledError is raised.
        """
        if spare is not None and spare.is_dead:
            await spare.close(at_once=True)
            spare = None
        unit = spare or await cls.launch(spec.engine)
        try:
            await unit.load(spec)
        except BaseException:
            await run_to_end(unit.close(at_once=True))
            raise
        return unit

    async def load(self, spec: UnitSpec) -> None:
        self._answer_timeout = spec.serving.answer_timeout
        order = {"artifact": str(spec.artifact), "limits": asdict(spec.limits)}
        try:
            async with asyncio.timeout(spec.serving.load_timeout):
                self._writer.write(frames.pack(order, 0))
                head, _ = await frames.read_frame(self._reader)
        except TimeoutError:
            raise UnitLostError("the model took too long to load") from None
        except (frames.FrameError, OSError):
            raise UnitLostError("the process died while it loaded the model") from None
        if "failed" in head:
            raise UnloadableError(str(head["failed"]))

    @property
    def is_dead(self) -> bool:
        return self._reader.at_eof() or self._process.poll() is not None

    async def detect(self, body: bytes, content_type: str, *, with_map: bool = False) -> UnitAnswer:
        """Send an image and return the answer. Raises UnitLostError."""
        order = {"content_type": content_type, "with_map": with_map}
        try:
            async with asyncio.timeout(self._answer_timeout):
                self._writer.write(frames.pack(order, len(body)))
                self._writer.write(body)
                await self._writer.drain()
                head, parts = await frames.read_frame(self._reader)
        except TimeoutError:
            raise UnitTimeoutError("the unit did not answer in time") from None
        except (frames.FrameError, OSError):
            raise UnitLostError("the unit died") from None
        end_of_mask = head.get("mask_bytes", 0)
        return UnitAnswer(head, parts[:end_of_mask], parts[end_of_mask:])

    async def close(self, *, at_once: bool = False) -> None:
        """Close the socket, which ends an idle process, and kill one that does not end."""
        if at_once:
            self._process.kill()
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
        if self._process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, 0.5)
        if self._process.poll() is None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)


def _launch(command: list[str], theirs: socket.socket) -> subprocess.Popen[bytes]:
    # The socket is closed only here. Closed earlier, its number could already belong to a client's
    # connection when the process inherits it.
    with theirs:
        # A new process, not a fork: this process has threads and open connections.
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C in a terminal is for the service
        )


async def _discard(launch: asyncio.Task[subprocess.Popen[bytes]]) -> None:
    """Kill the process that is being started."""
    with contextlib.suppress(OSError):
        process = await launch
        process.kill()
        await asyncio.to_thread(process.wait)


async def run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """Finish short work even if the task is cancelled meanwhile."""
    task = asyncio.create_task(work)
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([task])
