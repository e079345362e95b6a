"""What `lfv inspect` refuses before it starts anything."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lfv.run.errors import InspectionError, LimitReached, NothingInspected, SourceEmpty
from lfv.run.summary import RunSummary
from lfv_store import RunCounts
from tests.support.waiting import PLENTY

if TYPE_CHECKING:
    from tests.cli.conftest import Lfv

NO_PROJECT_YET = "lfv: no project named p yet; `lfv train FOLDER --project p` trains its model\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["x.csv", "--resume", "last", "--project", "p"], "either SOURCE or --resume"),
        (["--project", "p"], "either SOURCE or --resume"),
        (["x.csv"], "--project is missing"),
        (["--resume", "last", "--project", "p", "--again"], "leave out --project, --again"),
        (["--resume", "last", "--confidence", "0.8"], "leave out --confidence"),
        (["x.csv", "--project", "p", "--max-cost", "0"], "--max-cost must be greater than 0"),
        (["x.csv", "--project", "p", "--max-hosted-minutes", "0"], "--max-hosted-minutes must"),
        (
            ["x.csv", "--project", "p", "--mode", "batch", "--shards", "2"],
            "--mode batch cannot be combined",
        ),
    ],
    ids=["both", "neither", "no project", "project", "confidence", "cost", "minutes", "shards"],
)
def test_wrong_usage(lfv: Lfv, home: Path, arguments: list[str], told: str) -> None:
    outcome = lfv("inspect", *arguments)
    assert outcome.status == 2
    assert told in outcome.err
    assert outcome.err.count("\n") == 1
    assert outcome.out == ""
    assert not home.exists()


def test_a_missing_source_starts_nothing(lfv: Lfv, home: Path, tmp_path: Path) -> None:
    missing = tmp_path / "no.manifest"
    outcome = lfv("inspect", missing, "--project", "p")
    assert outcome.status == 1
    assert outcome.err == f"lfv: no manifest, folder or image found at {missing}\n"
    assert not home.exists()


def test_a_bad_policy_starts_nothing(lfv: Lfv, home: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("default: [\n")
    outcome = lfv("inspect", tmp_path, "--project", "p", "--policy", policy)
    assert outcome.status == 1
    assert outcome.err.startswith(f"lfv: {policy}: The policy is not valid YAML")
    assert outcome.err.count("\n") == 1
    assert not home.exists()


def test_a_prefect_api_that_does_not_respond_is_named(
    lfv_process: Lfv, home: Path, tmp_path: Path
) -> None:
    home.mkdir()  # Prefect warns if the user's home folder is missing
    outcome = lfv_process(
        "inspect", tmp_path, "--project", "p", PREFECT_API_URL="http://127.0.0.1:9/api"
    )
    assert outcome.status == 1
    note, *steps, last = outcome.err.splitlines()
    assert note + "\n" == NO_PROJECT_YET
    assert all(step.startswith("inspect: ") for step in steps)
    assert last.startswith("lfv: Prefect's API at http://127.0.0.1:9/api does not respond")
    assert last.endswith("check PREFECT_API_URL")


def test_the_temporary_server_starts_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    """It takes longer than the rest of a start."""
    (tmp_path / "part.png").write_bytes(b"")
    script = (
        "import os, sys\n"
        "from lfv.cli import main, prefect_api\n"
        "heavy = {'boto3', 'numpy', 'PIL', 'prefect', 'sqlalchemy'}\n"
        "def end(*_):\n"
        "    print(sorted(heavy & set(sys.modules)), flush=True)\n"
        "    os._exit(0)\n"
        "prefect_api.TemporaryServer.__init__ = end\n"
        f"sys.argv = ['lfv', 'inspect', {str(tmp_path)!r}, '--project', 'p']\n"
        "main.main()\n"
    )
    environment = {"PATH": os.environ["PATH"], "LFV_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PREFECT_HOME": str(tmp_path / "prefect")},
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_the_temporary_server_ends_when_its_input_is_closed() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "lfv.cli.prefect_api"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        port = int(process.stdout.readline())
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/api/health", timeout=PLENTY
        ) as answer:
            assert answer.status == 200
        process.stdin.close()
        assert process.wait(PLENTY) in {0, 1}


SUMMARY = RunSummary(
    run_id="3f7c2a10-0000-0000-0000-000000000000",
    status="interrupted",
    message="the limit of 1 hosted minutes is reached",
    project="p",
    model_version="1",
    counts=RunCounts(total=3, accepted=1, rejected=0, review=0, errors=0, reused=0, pending=2),
    skipped={"masks": 2, "hidden files": 1},
)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LimitReached("the limit is reached: 2 of 3 images are left"), 1),
        (SourceEmpty("folder has no image to inspect"), 3),
        (NothingInspected("none of the 3 images could be inspected"), 3),
    ],
    ids=["limit", "empty", "nothing"],
)
def test_a_run_that_ends_early_prints_its_json(
    lfv: Lfv,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: InspectionError,
    status: int,
) -> None:
    def end_early(*_: object, **__: object) -> RunSummary:
        error.summary = SUMMARY
        raise error

    monkeypatch.setattr("lfv.cli.inspect.run_flow", end_early)
    outcome = lfv("inspect", tmp_path, "--project", "p", "--json")
    assert outcome.status == status
    assert outcome.json()["run_id"] == SUMMARY.run_id
    assert outcome.json()["counts"]["pending"] == 2
    assert outcome.json()["skipped"] == {"masks": 2, "hidden files": 1}
    assert outcome.err == f"{NO_PROJECT_YET}lfv: {error}\n"


def test_skipped_files_are_shown(lfv: Lfv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lfv.cli.inspect.run_flow", lambda *_, **__: SUMMARY)
    outcome = lfv("inspect", tmp_path, "--project", "p")
    assert "3 (masks: 2, hidden files: 1)" in outcome.out


def test_a_resumed_run_accepts_a_limit(lfv: Lfv, run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, object]] = []

    def resumed(_: object, arguments: dict[str, object], **__: object) -> RunSummary:
        given.append(arguments)
        return SUMMARY

    monkeypatch.setattr("lfv.cli.inspect.run_flow", resumed)
    options = ("--max-cost", "5", "--shards", "2")
    outcome = lfv("inspect", "--resume", "last", *options, "--json")
    assert outcome.status == 0
    assert given == [{"run": run, "max_cost": 5.0, "max_hosted_minutes": None, "shards": 2}]


def test_shards_that_cannot_work_start_nothing(
    lfv: Lfv, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusal(*options: str) -> str:
        outcome = lfv("inspect", tmp_path, "--project", "p", "--shards", "2", *options)
        assert outcome.status == 1
        assert not home.exists()
        return outcome.err

    monkeypatch.chdir(tmp_path)  # Prefect's settings may be in the current folder
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    for name in [one for one in os.environ if one.startswith("PREFECT_API")]:
        monkeypatch.delenv(name)
    assert "LFV_DATABASE_URL" in refusal()
    database = ("--database-url", "postgresql://db/lfv")
    assert "LFV_ENDPOINT_URL" in refusal(*database)
    assert "PREFECT_API_URL" in refusal(*database, "--endpoint-url", "http://127.0.0.1:9")


def test_an_interruption_before_the_run_is_recorded_is_reported(
    lfv: Lfv, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    for name in ("use_in_process", "quieten_prefect"):  # they change this process
        monkeypatch.setattr(f"lfv.settings.{name}", lambda *_: None)
    monkeypatch.setattr("lfv.cli.prefect_api.start_server_early", interrupted)
    outcome = lfv("inspect", tmp_path, "--project", "p", "--json")
    assert outcome.status == 130
    assert outcome.err == (
        f"{NO_PROJECT_YET}lfv: interrupted: no run was recorded, and no model was started\n"
    )
    outcome = lfv("inspect", "--resume", "last", "--json")
    assert outcome.err == "lfv: interrupted: the run was not resumed\n"
