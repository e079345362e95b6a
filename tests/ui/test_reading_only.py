"""A read-only account sees everything, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from lfv.settings import get_settings
from lfv.ui import UiOptions
from tests.support.ui import RUN_ID, Browser, another, scene, serving


@pytest.fixture
def reader_url(postgresql_url: str) -> Iterator[str]:
    """The same database for an account with nothing but SELECT."""
    name = f"reader_{uuid4().hex}"
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'r'".encode())
        conn.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}".encode())
        scheme, _, rest = postgresql_url.partition("://")
        yield f"{scheme}://{name}:r@{rest.rpartition('@')[2]}"
        conn.execute(f"DROP OWNED BY {name}".encode())
        conn.execute(f"DROP ROLE {name}".encode())


def test_a_read_only_account_sees_everything(
    postgresql_url: str, reader_url: str, tmp_path: Path
) -> None:
    with scene(tmp_path / "home", url=postgresql_url) as place:
        head = place.store.audit.head()
        part = place.parts("review")[0]
        settings = get_settings(home=tmp_path / "home", database_url=reader_url)
        options = UiOptions(settings=settings, local_user="mara")
        with serving(options) as address, another(address) as mara:
            check(mara, part)
        assert place.store.audit.head() == head


def check(mara: Browser, part: int) -> None:
    for address in ("/", f"/runs/{RUN_ID}", f"/parts/{part}", f"/image/{part}", "/costs"):
        assert mara.get(address).status_code == 200, address
    for address, fields in (
        ("/review/claim", {"window": mara.window}),
        ("/review/undo", {"inspection": str(part), "token": "u" * 20, "window": mara.window}),
        (
            f"/runs/{RUN_ID}/policy/apply",
            {"reason": "x", "text": "default:\n  anomaly_types:\n    max_types: 0\n"},
        ),
    ):
        answer = mara.post(address, **fields)
        assert answer.status_code in (400, 409), address
        assert answer.json()["error"]
