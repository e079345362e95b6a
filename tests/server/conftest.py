"""A service that most tests share, with a scripted engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import Service, host, make_model, running


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("service")) as started:
        yield started


@pytest.fixture(scope="session")
def client(service: Service) -> Any:
    return service.client()


_numbers = count(1)


@pytest.fixture
def name() -> str:
    """A project name that no other test has."""
    return f"project-{next(_numbers)}"


@pytest.fixture
def project(client: Any, name: str) -> str:
    client.create_project(ProjectName=name)
    return name


@pytest.fixture(scope="session")
def trained(service: Service, client: Any) -> str:
    """A project with a trained classification model, which tests must not change."""
    make_model(client, service, "trained")
    return "trained"


@pytest.fixture(scope="session")
def hosted(service: Service, client: Any) -> str:
    """A project with a hosted segmentation model, which tests must not change."""
    make_model(client, service, "hosted", masks=True)
    host(client, "hosted")
    return "hosted"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start a service for one test."""
    with ExitStack() as stack:
        numbers = count(1)

        def begin(**options: Any) -> Service:
            folder = tmp_path / f"service-{next(numbers)}"
            return stack.enter_context(running(folder, **options))

        yield begin
