"""Prefect, the results database or the model's API are down, for a while or for good."""

from __future__ import annotations

import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from sqlalchemy import make_url

from tests.support.fault_list import bound
from tests.support.prefect_server import PrefectServer, api_url_at
from tests.support.proxy import Proxy, proxy_to
from tests.support.scene import IN_FLIGHT, Scene
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

#: Seconds of a short outage: several attempts of its clients.
WHILE = 2.5


def test_prefect_is_unavailable_for_a_while(scene: Scene, prefect: PrefectServer) -> None:
    scene.endpoint.script(detect_seconds=0.2)
    with proxy_to("127.0.0.1", prefect.port) as proxy:
        run = scene.inspect(api_url=api_url_at(proxy.port))
        scene.asking()
        scene.fault()
        proxy.cut()
        scene.asking(10)
        proxy.mend()
        scene.hurry()
        run.finish()
    scene.check_finished(in_flight=0)


def test_prefect_becomes_unavailable_for_good(scene: Scene, prefect: PrefectServer) -> None:
    with proxy_to("127.0.0.1", prefect.port) as proxy:
        run = scene.inspect(api_url=api_url_at(proxy.port))
        scene.asking()
        scene.fault()
        proxy.cut()
        scene.hurry()
        wait_until(lambda: scene.newest_run().status == "completed")
        last = scene.endpoint.calls("DetectAnomalies")[-1]["at"]
        scene.check_stopped(last, 10)
        scene.check_finished(in_flight=0)
        run.kill()  # it keeps trying to reach Prefect
        run.wait()


def test_postgresql_is_unavailable_for_a_while(
    scene_on_postgresql: Scene, database_proxy: Proxy
) -> None:
    scene = scene_on_postgresql
    run = scene.inspect()
    scene.asking()
    scene.fault()
    database_proxy.cut()
    asked = len(scene.endpoint.calls("DetectAnomalies"))
    time.sleep(WHILE)
    more = len(scene.endpoint.calls("DetectAnomalies")) - asked
    assert more <= 2 * IN_FLIGHT, "more requests were sent without storing the answers"
    database_proxy.mend()
    scene.hurry()
    run.finish()
    scene.check_finished(in_flight=0)


def test_sqlite_is_locked_and_released(scene_on_sqlite: Scene) -> None:
    scene = scene_on_sqlite
    run = scene.inspect()
    scene.asking()
    scene.fault()
    with locked(scene.database_url):
        asked = len(scene.endpoint.calls("DetectAnomalies"))
        time.sleep(WHILE)
        more = len(scene.endpoint.calls("DetectAnomalies")) - asked
        assert more <= 2 * IN_FLIGHT, "more requests were sent without storing the answers"
    scene.hurry()
    run.finish()
    scene.check_finished(in_flight=0)


def test_the_database_stays_unavailable(scene_on_postgresql: Scene, database_proxy: Proxy) -> None:
    scene = scene_on_postgresql
    run = scene.inspect(store_patience_seconds="2")
    scene.asking()
    since = scene.fault()
    database_proxy.cut()
    scene.check_stopped(since, bound("database-gone"), recorded=False)
    assert run.wait() == 1
    database_proxy.mend()
    # Its lease is still recorded: its guard releases it, or a sweep ends it once it has expired.
    wait_until(lambda: scene.sweep() and scene.hostings()[0].status == "stopped")
    wait_until(lambda: scene.newest_run().status == "crashed")
    scene.resume().finish()
    scene.check_finished()


def test_a_run_is_killed_while_postgresql_is_unavailable(
    scene_on_postgresql: Scene, database_proxy: Proxy
) -> None:
    scene = scene_on_postgresql
    run = scene.inspect()
    scene.asking()
    since = scene.fault()
    database_proxy.cut()
    run.kill()
    scene.check_stopped(since, bound("database-kill"), recorded=False)
    database_proxy.mend()
    wait_until(lambda: scene.sweep() and scene.hostings()[0].status == "stopped")
    scene.resume().finish()
    scene.check_finished()


def test_a_run_is_killed_while_sqlite_is_locked(scene_on_sqlite: Scene) -> None:
    scene = scene_on_sqlite
    run = scene.inspect()
    scene.asking()
    since = scene.fault()
    with locked(scene.database_url):
        run.kill()
        scene.check_stopped(since, bound("database-kill"), recorded=False)
    wait_until(lambda: scene.sweep() and scene.hostings()[0].status == "stopped")
    scene.resume().finish()
    scene.check_finished()


def test_the_service_is_unavailable_for_a_while(scene: Scene) -> None:
    with service_proxy(scene) as proxy:
        run = scene.inspect()
        scene.asking()
        scene.fault()
        proxy.cut()
        time.sleep(WHILE)
        proxy.mend()
        scene.hurry()
        run.finish()
        scene.check_finished()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["SIGINT", "SIGKILL"])
def test_a_run_ends_while_the_service_is_unavailable(scene: Scene, number: signal.Signals) -> None:
    with service_proxy(scene) as proxy:
        run = scene.inspect()
        scene.asking()
        scene.fault()
        proxy.cut()
        run.kill(number)
        time.sleep(WHILE)
        assert scene.endpoint.status == "HOSTED"
        since = time.time()
        proxy.mend()
        scene.check_stopped(since, bound("service-gone"))
        run.wait()
        scene.resume().finish()
        scene.check_finished()


@pytest.mark.parametrize("error", ["ThrottlingException", "InternalServerException"])
def test_the_service_throttles_or_fails(scene: Scene, error: str) -> None:
    failing = {"DetectAnomalies": [error] * 8, "StartModel": [error], "StopModel": [error]}
    scene.endpoint.script(fail=failing)
    scene.inspect().finish()
    assert len(scene.endpoint.calls("DetectAnomalies", error)) == 8
    scene.check_finished(in_flight=0)


@contextmanager
def locked(database_url: str) -> Iterator[None]:
    """Lock an SQLite database against writes."""
    with closing(sqlite3.connect(make_url(database_url).database or "", timeout=30)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.rollback()


@contextmanager
def service_proxy(scene: Scene) -> Iterator[Proxy]:
    """A proxy between the runs of a scene and its endpoint."""
    address = make_url(scene.endpoint.address)
    assert address.port is not None
    with proxy_to("127.0.0.1", address.port) as proxy:
        scene.environment["LFV_ENDPOINT_URL"] = f"{address.drivername}://127.0.0.1:{proxy.port}"
        yield proxy
