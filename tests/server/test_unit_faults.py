"""Inference units that crash, hang or are busy, and changes of their number."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import (
    FAST,
    Service,
    detect,
    host,
    is_gone,
    make_model,
    model_in,
    png,
)
from tests.support.unit_metrics import metric, metrics, units, workers
from tests.support.waiting import PLENTY, stretched, wait_until


def in_hand(service: Service, project: str) -> int:
    """Requests of a model that are being answered."""
    with urllib.request.urlopen(f"{service.url}/health", timeout=PLENTY) as answer:
        hosted = json.load(answer)["hosted"]
    return sum(model["in_hand"] for model in hosted if model["project"] == project)


def test_crashed_unit_is_replaced_and_its_request_answered(
    client: Any, service: Service, hosted: str, tmp_path: Path
) -> None:
    body = png(bright=True, order=f"die-once:{tmp_path / 'died'}")
    assert detect(client, hosted, body)["IsAnomalous"] is True
    assert (tmp_path / "died").exists()
    assert detect(client, hosted, png())["IsAnomalous"] is False


def test_disconnected_clients_leave_the_queue(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    service = start()
    client = service.client()
    make_model(client, service, "p")
    host(client, "p")
    may_end = tmp_path / "may-end"
    image = png(order=f"until:{may_end}")
    head = (
        "POST /2020-11-20/projects/p/models/1/detect HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: image/png\r\nContent-Length: {len(image)}\r\n\r\n"
    )
    connections = []
    for number in range(5):
        connection = socket.create_connection(("127.0.0.1", service.port), timeout=PLENTY)
        connection.sendall(head.encode() + image)
        connections.append(connection)
        wait_until(lambda number=number: in_hand(service, "p") == number + 1)
    for connection in connections:
        connection.close()
    wait_until(lambda: in_hand(service, "p") == 1)
    may_end.touch()
    wait_until(lambda: in_hand(service, "p") == 0)
    assert detect(client, "p", png())["IsAnomalous"] is False
    # The image that the unit was working on, and the last one; the four in between were dropped.
    assert metric(service, "p", "ProcessedImageCount_total") <= 2


def test_image_that_kills_units_fails_cleanly(client: Any, hosted: str) -> None:
    with pytest.raises(client.exceptions.InternalServerException) as caught:
        detect(client, hosted, png(order="die"))
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    with pytest.raises(client.exceptions.InternalServerException, match="as ordered"):
        detect(client, hosted, png(order="raise"))
    assert detect(client, hosted, png())["IsAnomalous"] is False


def test_unit_killed_while_idle(start: Callable[..., Service]) -> None:
    service = start()
    client = service.client()
    make_model(client, service, "p")
    host(client, "p", 2)
    first = workers(service)
    assert len(first) == 2
    for pid in first:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: is_gone(pid))
    assert detect(client, "p", png())["IsAnomalous"] is False
    wait_until(lambda: len(workers(service)) == 2 and not set(workers(service)) & set(first))


def test_unit_that_hangs_is_replaced(start: Callable[..., Service]) -> None:
    service = start(serving={**FAST, "answer_timeout": stretched(1.5)})
    client = service.client()
    make_model(client, service, "p")
    host(client, "p")
    with pytest.raises(client.exceptions.InternalServerException, match="took too long"):
        detect(client, "p", png(order="hang"))
    assert detect(client, "p", png())["IsAnomalous"] is False
    wait_until(lambda: len(workers(service)) == 1)


def test_images_that_take_too_long_leave_the_model_hosted(start: Callable[..., Service]) -> None:
    """They are not the model's fault, even if many follow each other."""
    service = start(serving={**FAST, "answer_timeout": stretched(1.0), "restarts": 1})
    client = service.client()
    make_model(client, service, "p")
    host(client, "p")
    for _ in range(4):
        with pytest.raises(client.exceptions.InternalServerException, match="took too long"):
            detect(client, "p", png(order="hang"))
    described = client.describe_model(ProjectName="p", ModelVersion="1")["ModelDescription"]
    assert described["Status"] == "HOSTED"
    assert detect(client, "p", png())["IsAnomalous"] is False
    wait_until(lambda: len(workers(service)) == 1)


def test_model_whose_units_keep_dying(start: Callable[..., Service]) -> None:
    service = start(serving={**FAST, "restarts": 2})
    client = service.client()
    make_model(client, service, "p")
    host(client, "p")
    for _ in range(2):
        with pytest.raises(
            (client.exceptions.InternalServerException, client.exceptions.ConflictException)
        ):
            detect(client, "p", png(order="die"))
    described = model_in(client, "p", "HOSTING_FAILED")
    assert "lost in a row" in described["StatusMessage"]
    host(client, "p")
    assert detect(client, "p", png())["IsAnomalous"] is False


def test_units_follow_demand(start: Callable[..., Service]) -> None:
    service = start()
    client = service.client(max_pool_connections=20)
    make_model(client, service, "p")
    host(client, "p", 1, 3)
    assert units(service, "p") == 1
    slow = png(order="sleep:0.2")
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            detect(client, "p", slow)

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask) for _ in range(8)]
        try:
            wait_until(lambda: units(service, "p") == 3, what="three units")
            assert units(service, "p", "Desired") == 3
            assert units(service, "p", "Max") == 3
        finally:
            ended.set()
        for future in asked:
            future.result()
    wait_until(lambda: units(service, "p") == 1, what="one unit again")
    wait_until(lambda: len(workers(service)) == 1)


def test_units_in_service_outlive_the_files_they_were_loaded_from(
    start: Callable[..., Service],
) -> None:
    service = start()
    client = service.client(max_pool_connections=20)
    make_model(client, service, "p")
    host(client, "p", 1, 2)
    (unit,) = workers(service)
    (artifact,) = service.home.glob("**/model.json")
    artifact.write_text("damaged")
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            assert detect(client, "p", png(order="sleep:0.1"))["IsAnomalous"] is False

    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(ask) for _ in range(6)]
        try:
            wait_until(lambda: "another inference unit cannot be started" in service.log)
        finally:
            ended.set()
        for future in asked:
            future.result()
    assert workers(service) == [unit]
    assert units(service, "p", "Desired") == 1
    assert client.describe_model(ProjectName="p", ModelVersion="1")["ModelDescription"][
        "Status"
    ] == ("HOSTED")
    os.kill(unit, signal.SIGKILL)
    described = model_in(client, "p", "HOSTING_FAILED")
    assert "the artifact is damaged" in described["StatusMessage"]


def test_overload_is_throttled(start: Callable[..., Service]) -> None:
    patience = min(stretched(1), 10)
    service = start(serving={**FAST, "waiting_per_unit": 2, "wait_timeout": patience})
    client = service.client(max_pool_connections=20)
    make_model(client, service, "p")
    host(client, "p")
    outcomes: list[str] = []
    waits: set[str] = set()

    def ask(_: int) -> None:
        try:
            detect(client, "p", png(order=f"sleep:{2 * patience}"))
        except client.exceptions.ThrottlingException as error:
            waits.add(error.response["ResponseMetadata"]["HTTPHeaders"]["retry-after"])
            outcomes.append(str(error))
        else:
            outcomes.append("answered")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    assert waits == {"1"}
    assert outcomes.count("answered") >= 1
    assert sum("too many requests are waiting" in text for text in outcomes) >= 1
    assert sum("no free inference unit in time" in text for text in outcomes) >= 1
    assert detect(client, "p", png())["IsAnomalous"] is False
    found = metrics(service)
    labels = 'ProjectName="p",ModelVersion="1"'
    swapped = 'ModelVersion="1",ProjectName="p"'

    def sample(name: str) -> float:
        return found.get(f"{name}{{{labels}}}", found.get(f"{name}{{{swapped}}}", -1))

    answered = outcomes.count("answered") + 1
    assert sample("ThrottledCount_total") == 8 - outcomes.count("answered")
    assert sample("ProcessedImageCount_total") == answered
    assert sample("SuccessfulRequestCount_total") == answered
    assert sample("ErrorCount_total") == sample("ThrottledCount_total")
    assert sample("Time_count") == answered
    assert sample("Time_sum") >= 2000  # milliseconds


def test_a_stop_finishes_running_requests(
    client: Any, service: Service, name: str, tmp_path: Path
) -> None:
    make_model(client, service, name)
    host(client, name)
    may_end = tmp_path / "may-end"
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(detect, client, name, png(order=f"until:{may_end}"))
        wait_until(lambda: in_hand(service, name) == 1)
        client.stop_model(ProjectName=name, ModelVersion="1")
        with pytest.raises(client.exceptions.ConflictException):
            detect(client, name, png())
        may_end.touch()
        assert asked.result()["IsAnomalous"] is False
    model_in(client, name, "TRAINED")
