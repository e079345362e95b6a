"""`lfv db`."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from lfv.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.cli.conftest import Lfv


def test_a_database_is_created_and_is_current_afterwards(lfv: Lfv, home: Path) -> None:
    url = f"sqlite:///{home}/inspections.db"
    missing = lfv("db", "check")
    assert missing.status == 1
    assert "`lfv db upgrade` creates it" in missing.err
    assert not home.exists()
    made = lfv("db", "upgrade")
    assert made.status == 0
    assert made.out.startswith(f"{url} created")
    assert "already" in lfv("db", "upgrade").out
    fits = lfv("db", "check")
    assert fits.status == 0
    assert fits.out.startswith(f"{url} is at revision ")
    assert lfv("db", "check", "--json").json()["fits"] is True


def test_an_empty_database_is_not_a_store(lfv: Lfv, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    sqlite3.connect(path).close()
    path.touch()
    url = f"sqlite:///{path}"
    outcome = lfv("db", "check", "--database-url", url)
    assert outcome.status == 1
    assert "has no tables yet: run `lfv db upgrade`" in outcome.err
    shown = lfv("db", "check", "--database-url", url, "--json")
    assert shown.status == 1
    assert shown.json()["fits"] is False


def test_a_newer_database_is_refused(lfv: Lfv, home: Path) -> None:
    lfv("db", "upgrade")
    connection = sqlite3.connect(home / "inspections.db")
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    check = lfv("db", "check")
    assert check.status == 1
    assert "use the newer release" in check.err
    for command in (["runs"], ["db", "upgrade"]):
        outcome = lfv(*command)
        assert outcome.status == 1
        assert "newer release" in outcome.err


def test_the_url_is_shown_without_its_password(
    lfv: Lfv, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    assert lfv("db", "url").out == f"sqlite:///{home}/inspections.db\n"
    monkeypatch.setenv("LFV_DATABASE_URL", "postgresql+psycopg://lfv:s3cret@db.example/lfv")
    assert lfv("db", "url").out == "postgresql://lfv:***@db.example/lfv\n"
    shown = lfv("db", "url", "--with-password").out
    assert shown == "postgresql://lfv:s3cret@db.example/lfv\n"
    monkeypatch.setenv("LFV_DATABASE_URL", "postgresql://lfv@db.example/lfv?password=s3cret")
    assert "s3cret" not in lfv("db", "url").out
    assert "s3cret" in lfv("db", "url", "--with-password").out
    assert "s3cret" not in get_settings().shown_store_url


def test_an_unavailable_database_is_reported_in_one_sentence(lfv: Lfv) -> None:
    outcome = lfv("runs", "--database-url", "postgresql://lfv:s3cret@127.0.0.1:9/lfv")
    assert outcome.status == 1
    assert outcome.err.count("\n") == 1
    assert "s3cret" not in outcome.err
