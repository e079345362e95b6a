"""Databases for tests: fresh SQLite files and PostgreSQL databases, migrated to head.

The first PostgreSQL found is used: the option --postgresql-url, a server on 127.0.0.1:5432 that
admits `postgres`, binaries (initdb and pg_ctl) to start a temporary one. Without any, tests that
need it are skipped with the reason; if CI is set they fail.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from lfv_store import open_store
from lfv_store.schema import HEAD
from lfv_store.tables import Base
from tests.support.processes import free_port
from tests.support.waiting import PLENTY

USUAL_URL = "postgresql://postgres@127.0.0.1:5432/test"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option that names a PostgreSQL server on which databases may be created."""
    parser.addoption(
        "--postgresql-url",
        default=None,
        help=f"server for the tests; databases are created on it and dropped (default {USUAL_URL})",
    )


def _connect(url: str, *, autocommit: bool = False) -> psycopg.Connection:
    """Connect to a server that is up, however busy it is."""
    return psycopg.connect(make_conninfo(url, connect_timeout=int(PLENTY)), autocommit=autocommit)


class PostgresServer:
    """A server on which we may create databases. `url` names its maintenance database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._template: str | None = None
        self._making = threading.Lock()
        self._idle: list[str] = []
        self._lent = ExitStack()

    def execute(self, statement: str) -> None:
        """Run one statement on the maintenance database."""
        with _connect(self.url, autocommit=True) as conn:
            conn.execute(statement.encode())

    def url_of(self, database: str) -> str:
        """The URL of a database on this server."""
        parts, _, query = self.url.partition("?")
        base = f"{parts.rpartition('/')[0]}/{database}"
        return f"{base}?{query}" if query else base

    @contextmanager
    def database(self, *, migrated: bool = True) -> Iterator[str]:
        """The URL of a new database, dropped afterwards despite open connections."""
        name = f"lfv_test_{uuid4().hex}"
        template = f" TEMPLATE {self._migrated_template()}" if migrated else ""
        self.execute(f"CREATE DATABASE {name}{template}")
        # Nothing in a test needs to survive a power failure.
        self.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
        try:
            yield self.url_of(name)
        finally:
            self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    @contextmanager
    def borrowed(self) -> Iterator[str]:
        """The URL of a database with our tables and no rows, for one test at a time.

        It is emptied and reused afterwards, ten times faster than a new one, unless a test has
        changed its tables or one of its processes still writes to it.
        """
        if not self._idle:
            self._idle.append(self._lent.enter_context(self.database()))
        url = self._idle.pop()
        yield url
        with suppress(psycopg.OperationalError):  # such as a deadlock with a process that writes
            if self._empty(url):
                self._idle.append(url)

    def _empty(self, url: str) -> bool:
        with _connect(url) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            conn.execute("SET session_replication_role = replica")  # past the triggers
            tables = {
                name
                for (name,) in conn.execute(
                    "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
                )
            }
            if tables != {*Base.metadata.tables, "alembic_version"}:
                return False
            for table in Base.metadata.tables:
                conn.execute(f"DELETE FROM {table}".encode())  # noqa: S608
            conn.execute("ALTER SEQUENCE audit_changes RESTART")
            revision = conn.execute("SELECT version_num FROM alembic_version").fetchone()
            return revision == (HEAD,)

    def _migrated_template(self) -> str:
        """A database with our tables, made once: copying it is ten times faster than migrating."""
        with self._making:  # it cannot be copied while another thread migrates it
            if self._template is None:
                name = f"lfv_test_template_{uuid4().hex}"
                self.execute(f"CREATE DATABASE {name}")
                open_store(self.url_of(name), migrate=True).close()
                self._template = name
            return self._template

    def close(self) -> None:
        """Drop the databases that were lent, and the template."""
        self._lent.close()
        if self._template is not None:
            self.execute(f"DROP DATABASE IF EXISTS {self._template} WITH (FORCE)")
            self._template = None


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(make_conninfo(url, connect_timeout=3)):
            return True
    except psycopg.Error:
        return False


@pytest.fixture(scope="session")
def postgresql_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A PostgreSQL server; skips the test (fails in CI) when there is none."""
    wanted: str | None = request.config.getoption("--postgresql-url")
    url = wanted or USUAL_URL
    if _answers(url):
        server = PostgresServer(url)
        yield server
        server.close()
        return
    if wanted is not None:
        pytest.fail("no PostgreSQL answers at --postgresql-url", pytrace=False)
    with (
        # Not in pytest's own folder: another session at work may clear that away.
        tempfile.TemporaryDirectory(
            prefix="lfv-test-postgres-", ignore_cleanup_errors=True
        ) as folder,
        own_server(Path(folder)) as own,
    ):
        if own is None:
            reason = f"no PostgreSQL: none at {USUAL_URL}, and no initdb and pg_ctl to start one"
            if os.environ.get("CI"):
                pytest.fail(f"may not be skipped in CI: {reason}", pytrace=False)
            pytest.skip(reason)
        server = PostgresServer(own)
        yield server
        server.close()


@contextmanager
def own_server(folder: Path, *, fsync: bool = False) -> Iterator[str | None]:
    """URL of a PostgreSQL server that lives in `folder` until exit; None where there is none."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, places)])
    initdb, pg_ctl = shutil.which("initdb", path=path), shutil.which("pg_ctl", path=path)
    if initdb is None or pg_ctl is None:
        yield None
        return
    user: str | None = None
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        with suppress(KeyError):
            user = pwd.getpwnam("postgres").pw_name
        if user is None:
            yield None
            return
        shutil.chown(folder, user)
    port = free_port()
    data = folder / "data"

    def run(*command: object) -> None:
        done = subprocess.run(
            [str(part) for part in command],
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            user=user,
            cwd=folder,
        )
        assert done.returncode == 0, done.stderr

    run(initdb, "-D", data, "-U", "postgres", "-A", "trust")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    if not fsync:
        options += " -c fsync=off"
    run(pg_ctl, "-D", data, "-w", "-t", int(PLENTY), "-l", folder / "log", "-o", options, "start")
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        run(pg_ctl, "-D", data, "-t", int(PLENTY), "-m", "immediate", "stop")


@pytest.fixture
def postgresql_url(postgresql_server: PostgresServer) -> Iterator[str]:
    """The URL of a fresh PostgreSQL database with our tables."""
    with postgresql_server.borrowed() as url:
        yield url


@cache
def _migrated_sqlite() -> bytes:
    """A SQLite file with our tables, made once: migrating takes thirty times as long as a copy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "template.db"
        open_store(f"sqlite:///{path}").close()
        return path.read_bytes()


def fresh_sqlite(path: Path) -> str:
    """The URL of a new SQLite file with our tables."""
    path.write_bytes(_migrated_sqlite())
    return f"sqlite:///{path}"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a fresh SQLite file with our tables."""
    return fresh_sqlite(tmp_path / "store.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of a fresh database with our tables: the test runs once on each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url
