"""The inference units of one hosted model: requests wait for them in a bounded queue."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from lfv.server.errors import ConflictError, InternalError, ThrottledError
from lfv.server.hosting.unit import (
    Unit,
    UnitAnswer,
    UnitLostError,
    UnitSpec,
    UnitTimeoutError,
    UnloadableError,
)

_log = logging.getLogger(__name__)
#: A request whose unit died is sent to one other unit.
_ATTEMPTS = 2
#: Seconds before another unit is started after one that could not load the model.
_GROWTH_PAUSE = 30.0


@dataclass(frozen=True)
class HostedModel:
    id: str
    project_name: str
    version: int
    min_units: int
    max_units: int

    @property
    def name(self) -> str:
        return f"{self.project_name}/{self.version}"


class Pool:
    """The units of a model and the queue before them. Runs in the event loop's thread.

    ``broken`` is called once, with the reason, if the model can no longer be served. ``take_spare``
    returns a process that was launched ahead, if there is one.
    """

    def __init__(
        self,
        model: HostedModel,
        spec: UnitSpec,
        broken: Callable[[str], None],
        take_spare: Callable[[], Awaitable[Unit | None]],
    ) -> None:
        self.model = model
        self.desired_units = model.min_units
        self._spec = spec
        self._serving = spec.serving
        self._broken = broken
        self._take_spare = take_spare
        self._units: set[Unit] = set()
        self._idle: list[Unit] = []
        self._waiting: deque[asyncio.Future[Unit]] = deque()
        self._starts: set[asyncio.Task[Any]] = set()
        self._in_progress = 0
        self._consecutive_losses = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._endings: set[asyncio.Task[None]] = set()
        self._open = False
        self._closed = False
        self._queued_since: float | None = None
        self._peak_busy = 0
        self._busy_since = time.monotonic()
        self._grow_after = 0.0

    @property
    def units(self) -> int:
        """Units in service."""
        return len(self._units)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def in_hand(self) -> int:
        """Requests that are being answered or waiting."""
        return self._in_progress

    async def start(self) -> None:
        """Start the minimum of units. Raises UnitLostError; then ``stop`` must be called."""
        starts = [self._spawn_start(self._start_unit()) for _ in range(self.model.min_units)]
        try:
            await asyncio.gather(*starts)
        except asyncio.CancelledError:
            if self._closed:
                raise UnitLostError("the model was stopped") from None
            raise
        self._open = not self._closed
        self._spawn(self._supervise())

    def give_up(self) -> None:
        """Refuse new requests, and cancel units that are starting."""
        self._open, self._closed = False, True
        for task in self._starts:
            task.cancel()

    async def stop(self) -> None:
        """Refuse new requests, finish running ones, and end the units."""
        self.give_up()
        deadline = time.monotonic() + self._serving.drain_timeout
        while self._in_progress and self._units and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        units, self._units = self._units, set()
        self._idle.clear()
        for unit in units:
            self._end(unit)
        await asyncio.gather(*self._endings, return_exceptions=True)

    async def detect(self, body: bytes, content_type: str, *, with_map: bool = False) -> UnitAnswer:
        """Let a unit inspect an image. Raises ConflictError, ThrottledError, InternalError."""
        # A request leaves the queue when its client disconnects. But a unit finishes an image that
        # it has started, because an interrupted unit could not be used again.
        begun = asyncio.Event()
        task = self._spawn(self._detect(body, content_type, begun, with_map=with_map))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise InternalError(f"model {self.model.name} was stopped meanwhile") from None
            if not begun.is_set():
                task.cancel()
            raise

    async def _detect(
        self, body: bytes, content_type: str, begun: asyncio.Event, *, with_map: bool
    ) -> UnitAnswer:
        self._in_progress += 1
        try:
            for _ in range(_ATTEMPTS):
                unit = await self._acquire()
                begun.set()
                try:
                    answer = await unit.detect(body, content_type, with_map=with_map)
                except UnitTimeoutError as error:
                    # The cause is the image, not the model.
                    self._replace(unit, str(error))
                    raise InternalError("the inference unit took too long for this image") from None
                except UnitLostError as error:
                    self._lose(unit, str(error))
                    continue
                self._consecutive_losses = 0
                self._release(unit)
                return answer
        finally:
            self._in_progress -= 1
        raise InternalError("inference units died on this image")

    async def _acquire(self) -> Unit:
        if not self._open:
            raise ConflictError(f"model {self.model.name} is not hosted", self.model.name, "MODEL")
        while self._idle:
            unit = self._idle.pop()
            if not unit.is_dead:
                self._note_busy()
                return unit
            self._lose(unit, "it died while idle")
        if len(self._waiting) >= self._serving.waiting_per_unit * self.desired_units:
            raise ThrottledError(f"too many requests are waiting for model {self.model.name}")
        future: asyncio.Future[Unit] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._queued_since = self._queued_since or time.monotonic()
        try:
            # wait() does not cancel the future on time-out, so a unit assigned just then is kept.
            await asyncio.wait([future], timeout=self._serving.wait_timeout)
        except asyncio.CancelledError:
            if future.done():
                self._release(future.result())
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(future)
            if not self._waiting:
                self._queued_since = None
        if not future.done():
            raise ThrottledError(f"model {self.model.name} had no free inference unit in time")
        self._note_busy()
        return future.result()

    def _release(self, unit: Unit) -> None:
        """Give the unit to the oldest waiting request, or end it if there are more than desired."""
        if len(self._units) > self.desired_units:
            self._units.discard(unit)
            self._end(unit)
            return
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(unit)
                return
        self._idle.append(unit)

    def _lose(self, unit: Unit, why: str) -> None:
        """Replace a unit that died; too many in a row break the model."""
        if unit not in self._units:
            return
        self._consecutive_losses += 1
        if self._consecutive_losses > self._serving.restarts:
            self._break(f"{self._consecutive_losses} inference units were lost in a row; {why}")
        self._replace(unit, why)

    def _replace(self, unit: Unit, why: str) -> None:
        _log.warning("model %s lost an inference unit: %s", self.model.name, why)
        self._units.discard(unit)
        with contextlib.suppress(ValueError):
            self._idle.remove(unit)
        self._end(unit, at_once=True)
        self._fill()

    def _fill(self) -> None:
        while self._open and len(self._units) + len(self._starts) < self.desired_units:
            self._spawn_start(self._start_unit_or_break())

    async def _start_unit_or_break(self) -> None:
        try:
            await self._start_unit()
        except UnitLostError as error:
            if isinstance(error, UnloadableError) and self._units:
                self._keep_size(str(error))
                return
            self._consecutive_losses += 1
            if (
                isinstance(error, UnloadableError)
                or self._consecutive_losses > self._serving.restarts
            ):
                self._break(str(error))

    def _keep_size(self, why: str) -> None:
        """Pause growth. Units in service still answer, even if the model's files are damaged."""
        _log.warning("model %s: another inference unit cannot be started: %s", self.model.name, why)
        self.desired_units = len(self._units)
        self._grow_after = time.monotonic() + _GROWTH_PAUSE

    async def _start_unit(self) -> None:
        unit = await Unit.start(self._spec, await self._take_spare())
        self._units.add(unit)
        self._release(unit)

    def _break(self, why: str) -> None:
        if self._open:
            self._open = False
            self._broken(why)

    def _note_busy(self) -> None:
        self._peak_busy = max(self._peak_busy, len(self._units) - len(self._idle))

    async def _supervise(self) -> None:
        """Replace units that died while idle, and scale with demand."""
        while True:
            await asyncio.sleep(self._serving.scale_interval)
            for unit in [unit for unit in self._idle if unit.is_dead]:
                self._lose(unit, "it died while idle")
            self._follow_demand(time.monotonic())
            self._fill()

    def _follow_demand(self, now: float) -> None:
        serving, low, high = self._serving, self.model.min_units, self.model.max_units
        queued = self._queued_since
        if queued is not None and now - queued >= serving.scale_up_after and not self._starts:
            if self.desired_units < high and now >= self._grow_after:
                self.desired_units += 1
                self._queued_since = now  # the next unit only if this one doesn't help
            self._peak_busy, self._busy_since = self.desired_units, now
        if now - self._busy_since >= serving.scale_down_after:
            if self._peak_busy < self.desired_units and self.desired_units > low:
                self.desired_units -= 1
                if self._idle and len(self._units) > self.desired_units:
                    self._release(self._idle.pop())
            self._peak_busy, self._busy_since = len(self._units) - len(self._idle), now

    def _end(self, unit: Unit, *, at_once: bool = False) -> None:
        # Not among the tasks that stop() cancels: cancelled, it would leave the process running.
        task = asyncio.create_task(unit.close(at_once=at_once))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _spawn_start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._spawn(work)
        self._starts.add(task)
        task.add_done_callback(self._starts.discard)
        return task
