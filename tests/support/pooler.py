"""PgBouncer in transaction mode, in front of the tests' PostgreSQL."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.support.processes import free_port
from tests.support.waiting import PLENTY, wait_until

# Fewer server connections than a run opens, so that its transactions change connections.
_SETTINGS = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = trust
auth_file = users.txt
pool_mode = transaction
default_pool_size = {server_connections}
max_client_conn = 200
"""


@contextmanager
def pooled(url: str) -> Iterator[str]:
    """The URL of a PostgreSQL database through a pooler; skips (fails in CI) without PgBouncer."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("may not be skipped in CI: no pgbouncer", pytrace=False)
        pytest.skip("no pgbouncer")
    with TemporaryDirectory(prefix="lfv-test-pgbouncer-") as folder:
        # PgBouncer refuses to run as root.
        user = pwd.getpwnam("postgres").pw_name if os.geteuid() == 0 else None
        if user is not None:
            shutil.chown(folder, user)
        parts, port = conninfo_to_dict(url), free_port()
        settings = Path(folder) / "pgbouncer.ini"
        settings.write_text(_SETTINGS.format(**parts, own=port, server_connections=3))
        (Path(folder) / "users.txt").write_text(f'"{parts["user"]}" ""\n')
        process = subprocess.Popen(
            [program, "-q", str(settings)], user=user, cwd=folder, stderr=subprocess.DEVNULL
        )
        address = f"postgresql://{parts['user']}@127.0.0.1:{port}/{parts['dbname']}"
        try:
            wait_until(lambda: _answers(address), "PgBouncer")
            yield address
        finally:
            process.terminate()
            process.wait(PLENTY)


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=3):
            return True
    except psycopg.Error:
        return False
