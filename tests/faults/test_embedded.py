"""`lfv inspect` with all that it starts: the embedded service and Prefect's server."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lfv_store import open_store
from tests.support.prefect_server import with_tables
from tests.support.processes import kill, with_environment
from tests.support.waiting import PLENTY, TRAINING, wait_until

pytestmark = pytest.mark.slow

LFV = str(Path(sys.executable).with_name("lfv"))
EACH = 10
COPIES = 60
#: (width, height) to which the cookies are reduced; accuracy does not matter here.
SIZE = (144, 192)


@pytest.fixture(scope="module")
def trained_home(sample_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LFV_HOME with a model of some of the cookies."""
    folder = tmp_path_factory.mktemp("embedded")
    rows = rows_of(sample_data / "cookies/train.manifest")
    chosen = []
    for label in (0, 1):
        of_label = [row for row in rows if row["anomaly-label"] == label]
        for row in of_label[:EACH]:
            image = folder / Path(row["source-ref"]).name
            image.write_bytes(small(sample_data / "cookies" / row["source-ref"]))
            chosen.append(
                {
                    "source-ref": str(image),
                    "anomaly-label": label,
                    "anomaly-label-metadata": row["anomaly-label-metadata"],
                }
            )
    (folder / "train.manifest").write_text("".join(f"{json.dumps(row)}\n" for row in chosen))
    subprocess.run(
        [LFV, "train", str(folder / "train.manifest"), "--project", "cookies"],
        env=environment(folder / "home"),
        check=True,
        capture_output=True,
        timeout=TRAINING,
    )
    return folder / "home"


@pytest.fixture
def home(trained_home: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of it; its processes are ended afterwards."""
    folder = tmp_path / "home"
    shutil.copytree(trained_home, folder)
    shutil.copytree(with_tables(tmp_path / "prefect"), folder / "prefect")
    yield folder
    kill(*(process.pid for process in with_environment("LFV_HOME", str(folder))))


HOW_TO_GO_ON = "answers so far are stored; `lfv inspect --resume last` inspects the rest"


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [
        (signal.SIGINT, 130, f"lfv: interrupted: {HOW_TO_GO_ON}"),
        (signal.SIGTERM, 143, "lfv: terminated"),
        (signal.SIGKILL, -signal.SIGKILL, None),
    ],
    ids=["SIGINT", "SIGTERM", "SIGKILL"],
)
def test_a_signal(
    home: Path, sample_data: Path, number: signal.Signals, status: int, words: str | None
) -> None:
    """A signal to the command's whole process group, like Ctrl-C at a terminal."""
    command = [LFV, "inspect", str(many_images(sample_data, home)), "--project", "cookies"]
    with (home / "command.log").open("wb") as log:
        run = subprocess.Popen(
            command, env=environment(home), stdout=log, stderr=log, start_new_session=True
        )
        wait_until(lambda: is_hosted(home) or run.poll() is not None)
        assert run.poll() is None, (home / "command.log").read_text()
        os.killpg(run.pid, number)
        assert run.wait(PLENTY) == status, (home / "command.log").read_text()
    told = (home / "command.log").read_text().splitlines()
    # The output is steps and one sentence on the end, nothing from Prefect's threads, no traceback.
    assert [line for line in told if not line.startswith("inspect: ")] == ([words] if words else [])
    # The run, its guard, the service with its workers, Prefect's temporary server: all gone.
    wait_until(lambda: not with_environment("LFV_HOME", str(home)))
    with open_store(f"sqlite:///{home / 'inspections.db'}") as store:
        (run_record,) = store.runs.list()
        assert run_record.status == ("crashed" if number is signal.SIGKILL else "cancelled")
        assert [hosting.status for hosting in store.hostings.list()] == ["stopped"]
        assert store.audit.verify().ok


def many_images(sample_data: Path, home: Path) -> Path:
    """A folder of cookies that keeps a run busy: no two files have the same bytes."""
    folder = home / "images"
    folder.mkdir()
    rows = rows_of(sample_data / "cookies/test.manifest")
    images = [small(sample_data / "cookies" / row["source-ref"]) for row in rows]
    for number, image in enumerate(images * COPIES):
        # What follows a JPEG's end does not belong to its picture.
        (folder / f"{number}.jpg").write_bytes(image + str(number).encode())
    return folder


def rows_of(manifest: Path) -> list[dict[str, Any]]:
    """The rows of a manifest."""
    return [json.loads(line) for line in manifest.read_text().splitlines()]


def small(image: Path) -> bytes:
    """The JPEG of an image at `SIZE`."""
    written = io.BytesIO()
    with Image.open(image) as opened:
        opened.convert("RGB").resize(SIZE).save(written, "JPEG", quality=92)
    return written.getvalue()


def is_hosted(home: Path) -> bool:
    """Whether the embedded service's model is recorded as up."""
    # Without the store: this runs many times while the run needs both cores.
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(f"file:{home / 'inspections.db'}?mode=ro", uri=True)) as database,
    ):
        return bool(database.execute("SELECT 1 FROM hostings WHERE status = 'hosted'").fetchone())
    return False


def environment(home: Path) -> dict[str, str]:
    """The environment of a command that has to start everything itself."""
    inherited = {name: value for name, value in os.environ.items() if "PREFECT" not in name}
    return {
        **inherited,
        "LFV_HOME": str(home),
        "LFV_REQUESTS_PER_UNIT": "1",
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_PROFILES_PATH": str(home / "prefect" / "profiles"),
    }
