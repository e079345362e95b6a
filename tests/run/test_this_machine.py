"""What counts as this machine, for every part that has to know."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.requests import Request

from lfv.formats.loopback import is_local_name
from lfv.run.detection.dask_workers import check_spreadable
from lfv.run.errors import NotSpreadable
from lfv.settings import get_settings, is_https_or_loopback
from lfv.ui.routing import is_our_name

LOCAL = ("localhost", "lfv.localhost", "127.0.0.1", "127.0.0.2", "[::1]", "[::ffff:127.0.0.2]")
OTHERS = ("localhost.example.org", "10.0.0.1", "[::]", "[::ffff:10.0.0.1]", "127.1")
NAMES = [*((name, True) for name in LOCAL), *((name, False) for name in OTHERS)]


@pytest.mark.parametrize(("name", "is_local"), NAMES)
def test_all_parts_agree_on_what_this_machine_is(name: str, is_local: bool) -> None:
    assert is_local_name(name.strip("[]")) is is_local
    assert is_https_or_loopback(f"http://{name}:8080/realms") is is_local
    assert is_https_or_loopback(f"https://{name}:8080/realms")
    ui = cast(Any, SimpleNamespace(options=SimpleNamespace(hosts=())))
    headers = [(b"host", f"{name}:4190".encode())]
    assert is_our_name(ui, Request({"type": "http", "headers": headers})) is is_local
    settings = get_settings(database_url="postgresql://db/lfv", dask_address=f"tcp://{name}:8786")
    with nullcontext() if is_local else pytest.raises(NotSpreadable):
        check_spreadable(settings, embedded=True)
