"""A scene, and a browser at its pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.ui import Browser, Scene, scene, served


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path / "home") as made:
        yield made


@pytest.fixture
def mara(place: Scene) -> Iterator[Browser]:
    """The person at this machine, while no users exist."""
    with served(place) as browser:
        yield browser
