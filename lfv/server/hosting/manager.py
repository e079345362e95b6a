"""Starts and stops the pools of inference units of hosted models."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Coroutine, Iterable
from functools import partial
from typing import Any

from lfv.server.database import Database
from lfv.server.errors import ConflictError, NotFoundError
from lfv.server.home import Home
from lfv.server.hosting.pool import HostedModel, Pool
from lfv.server.hosting.unit import Unit, UnitLostError, UnitSpec, run_to_end
from lfv.server.lifecycle import ModelEvent
from lfv.server.options import Limits, Serving
from lfv.server.state import models
from lfv.server.state.models import Model
from lfv.server.write_retries import record_from_loop

_log = logging.getLogger(__name__)


class HostingManager:
    """Runs in the event loop's thread; ``host`` and ``unhost`` may be called from any thread."""

    def __init__(
        self, database: Database, home: Home, engine: str, limits: Limits, serving: Serving
    ) -> None:
        self._database = database
        self._home = home
        self._engine = engine
        self._limits = limits
        self._serving = serving
        self._loop = asyncio.get_running_loop()
        self._pools: dict[str, Pool] = {}
        self._by_name: dict[tuple[str, str], Pool] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[None]] = set()
        self._spare: asyncio.Task[Unit] | None = None

    def launch_ahead(self) -> None:
        """Launch a process that imports the engine now, for the first unit that is needed."""
        self._spare = self._loop.create_task(Unit.launch(self._engine))

    def host(self, model_id: str) -> None:
        self._loop.call_soon_threadsafe(self._begin, self._host, model_id)

    def unhost(self, model_id: str) -> None:
        self._loop.call_soon_threadsafe(self._begin, self._unhost, model_id)

    def find(self, project_name: str, version: str) -> Pool | None:
        """Return the pool of a HOSTED model, or None."""
        return self._by_name.get((project_name, version))

    @property
    def pools(self) -> Iterable[Pool]:
        return list(self._pools.values())

    async def close(self) -> None:
        """Stop all units. Their models keep their status for the service's next start."""
        self._by_name.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(pool.stop() for pool in self._pools.values()))
        if (spare := await self._take_spare()) is not None:
            await spare.close(at_once=True)

    def _begin(self, work: Any, model_id: str) -> None:
        if work == self._unhost and (pool := self._pools.get(model_id)):
            self._forget_name(pool)
            pool.give_up()
        self._spawn(work(model_id), model_id)

    def _spawn(self, work: Coroutine[Any, Any, None], model_id: str) -> None:
        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                _log.error("hosting of model %s", model_id, exc_info=error)

        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(done)

    async def _host(self, model_id: str) -> None:
        async with self._locks[model_id]:
            try:
                load = partial(self._load, model_id)
                model = await record_from_loop(load, f"model {model_id}: start requested")
            except NotFoundError:
                return
            if not model.status.is_coming_up:
                return
            pool = self._make_pool(model)
            self._pools[model_id] = pool
            try:
                await pool.start()
            except Exception as error:  # noqa: BLE001 (any error must end the start)
                await pool.stop()
                del self._pools[model_id]
                why: object = error
                if not isinstance(error, UnitLostError):
                    _log.exception("the start of model %s", model.name)
                    why = "the service's log says why."
                message = f"The model could not be started: {why}"
                await self._record(model_id, ModelEvent.UNITS_BROKE, message)
                return
            # Registered before the status becomes HOSTED: a client may send an image right after.
            self._by_name[model.project_name, str(model.version)] = pool
            if not await self._record(model_id, ModelEvent.UNITS_READY, "The model is running."):
                self._forget_name(pool)

    async def _unhost(self, model_id: str) -> None:
        async with self._locks[model_id]:
            if pool := self._pools.pop(model_id, None):
                self._forget_name(pool)
                await pool.stop()
            message = "The model is trained and not running."
            await self._record(model_id, ModelEvent.UNITS_STOPPED, message)

    async def _record_failure(self, model_id: str, why: str) -> None:
        async with self._locks[model_id]:
            pool = self._pools.pop(model_id, None)
            if pool is not None:
                self._forget_name(pool)
            message = f"The model is no longer running: {why}"
            await self._record(model_id, ModelEvent.UNITS_BROKE, message)
            if pool is not None:
                await pool.stop()

    def _make_pool(self, model: Model) -> Pool:
        low = model.min_units or 1
        hosted = HostedModel(
            model.id, model.project_name, model.version, low, model.max_units or low
        )
        artifact = self._home.artifact(model.id)
        spec = UnitSpec(artifact, self._engine, self._limits, self._serving)

        def broken(why: str) -> None:
            self._spawn(self._record_failure(model.id, why), model.id)

        return Pool(hosted, spec, broken, self._take_spare)

    async def _take_spare(self) -> Unit | None:
        launch, self._spare = self._spare, None
        if launch is None:
            return None
        try:
            return await launch
        except UnitLostError as error:
            _log.warning("an inference unit could not be launched ahead: %s", error)
            return None
        except asyncio.CancelledError:
            if launch.done() and not launch.cancelled() and launch.exception() is None:
                await run_to_end(launch.result().close(at_once=True))
            raise

    def _forget_name(self, pool: Pool) -> None:
        self._by_name.pop((pool.model.project_name, str(pool.model.version)), None)

    def _load(self, model_id: str) -> Model:
        with self._database.transaction() as tx:
            return models.by_id(tx, model_id)

    async def _record(self, model_id: str, event: ModelEvent, message: str) -> bool:
        """Call ``_move`` until the database can be written."""
        move = partial(self._move, model_id, event, message)
        return await record_from_loop(move, f"model {model_id}: {event}")

    def _move(self, model_id: str, event: ModelEvent, message: str) -> bool:
        """Apply the event. Return False if an earlier request rules it out."""
        try:
            with self._database.transaction() as tx:
                moved = models.move(tx, models.by_id(tx, model_id), event, message)
                if event == ModelEvent.UNITS_STOPPED:
                    models.set_units(tx, moved, None, None)
        except (ConflictError, NotFoundError):
            return False
        _log.info("model %s: %s %s", moved.name, moved.status, message)
        return True
