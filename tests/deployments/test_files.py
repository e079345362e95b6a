"""What is in deployments/ for containers, Kubernetes, Grafana and PostgreSQL's administrator."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from sqlalchemy.engine import make_url

from lfv.cli.deploy import set_command
from lfv.cli.plant.services import Plant, own_deployments
from lfv.server.metrics import Metrics
from lfv.settings import get_settings
from lfv_store import ModelPace, NewReview, NewTraining, Store, StoreError, open_store
from tests.support.databases import PostgresServer
from tests.support.store_samples import (
    LEASE,
    a_model,
    a_run,
    after,
    at_time,
    failed,
    judged,
    segmented,
)

ROOT = Path(__file__).parents[2]
DEPLOYMENTS = ROOT / "deployments"
CONTAINERS = DEPLOYMENTS / "containers"


# -- containers -----------------------------------------------------------------------------------


def test_the_image_is_pinned_hashed_and_not_run_by_root() -> None:
    lines = [
        line.strip()
        for line in (CONTAINERS / "Dockerfile").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    words = [line.split() for line in lines]
    bases = [line[1] for line in words if line[0] == "FROM"]
    assert bases
    assert all(re.fullmatch(r"[a-z/]+:[0-9][\w.-]*", base) for base in bases)
    last = [line[0] for line in words if line[0] in {"USER", "ENTRYPOINT"}]
    assert last == ["USER", "ENTRYPOINT"]
    assert not [line for line in words if line[0] == "ADD" or "sudo" in line or "apt-get" in line]
    text = " ".join(lines)
    assert "--require-hashes" in text
    copied = [line[1] for line in words if line[0] == "COPY" and not line[1].startswith("--")]
    assert all((ROOT / source).exists() for source in copied)
    version = re.search(r"python:(3\.\d+)", text)
    assert version is not None
    assert f">={version[1]}" in (ROOT / "pyproject.toml").read_text()


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CONTAINERS / "compose.yaml").read_text())
    return found


def test_compose_publishes_to_this_machine_only_and_has_no_password_of_its_own() -> None:
    services = compose()["services"]
    ports = [port for one in services.values() for port in one.get("ports", ())]
    assert ports == ["127.0.0.1:4200:4200"]
    text = (CONTAINERS / "compose.yaml").read_text()
    secrets = re.findall(r"PASSWORD[^\n]*", text)
    assert secrets
    assert all(":?set it}" in one or "..." in one for one in secrets)
    assert set(services) == {"postgres", "prefect", "setup", "worker"}


def test_compose_names_only_existing_files() -> None:
    content = compose()
    services, volumes = content["services"], content["volumes"]
    for name, one in services.items():
        assert ("image" in one) or ("build" in one), name
        for needed, how in one.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed]
            else:
                assert services[needed]["restart"] == "no"
        for volume in one.get("volumes", ()):
            source = volume.rpartition(":ro")[0] or volume
            source = source.rpartition(":")[0]
            if source.startswith("."):
                assert (CONTAINERS / source).resolve().exists(), source
            elif not source.startswith("$"):
                assert source in volumes
    build = services["worker"]["build"]
    context = (CONTAINERS / build["context"]).resolve()
    assert context == ROOT
    assert (context / build["dockerfile"]).exists()


def test_compose_runs_the_steps_that_the_readme_has() -> None:
    upgrade, deploy = compose()["services"]["setup"]["command"][0].splitlines()
    assert upgrade == "lfv db upgrade"
    assert deploy.startswith("lfv deploy --prefect-file")


def test_compose_starts_runs_as_fast_as_a_plant_without_containers(tmp_path: Path) -> None:
    plant = Plant(get_settings(home=tmp_path), 0, 0, DEPLOYMENTS / "prefect.yaml")
    services = compose()["services"]
    assert services["setup"]["command"][0].split()[-1] == "--fast-start"
    for name, setting in (
        ("worker", "PREFECT_WORKER_QUERY_SECONDS"),
        ("prefect", "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED"),
    ):
        assert services[name]["environment"][setting] == plant.environment[setting]
    content = yaml.safe_load(plant.prefect_file.read_text())
    set_command(content, "python -m lfv.launch flows.engine")
    own = yaml.safe_load(
        own_deployments(plant, source=None, project=None, minutes=None).prefect_file.read_text()
    )
    commands = [
        [one["work_pool"]["job_variables"]["command"] for one in found["deployments"]]
        for found in (content, own)
    ]
    assert [one.replace(sys.executable, "python") for one in commands[1]] == commands[0]


def test_the_job_of_kubernetes_uses_every_variable_and_no_other() -> None:
    template = json.loads((DEPLOYMENTS / "kubernetes" / "job-template.json").read_text())
    configuration = template["job_configuration"]
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(configuration)))
    assert used == set(template["variables"]["properties"])
    pod = configuration["job_manifest"]["spec"]["template"]["spec"]
    assert configuration["job_manifest"]["spec"]["backoffLimit"] == 0  # Prefect decides
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["terminationGracePeriodSeconds"] >= 60  # a model has to be stopped
    mounted = {one["name"] for one in pod["containers"][0]["volumeMounts"]}
    assert mounted == {one["name"] for one in pod["volumes"]}


# -- Grafana --------------------------------------------------------------------------------------


def panels(name: str) -> list[dict[str, Any]]:
    board = json.loads((DEPLOYMENTS / "grafana" / f"{name}.json").read_text())
    found: list[dict[str, Any]] = board["panels"]
    assert len({panel["id"] for panel in found}) == len(found)
    assert {panel["datasource"] for panel in found} == {"${datasource}"}
    return found


@pytest.fixture
def filled(postgresql_url: str) -> str:
    """URL of a database with a run that has a verdict of each kind, and an error."""
    with open_store(postgresql_url) as store:
        fill(store)
    return postgresql_url


def fill(store: Store) -> str:
    model = a_model(store)
    run = a_run(store, model)
    lines = [judged(model, 1), judged(model, 2, "reject"), judged(model, 3, "review"), failed(4)]
    store.inspections.record(run, lines)
    store.runs.set_status(run, "completed", None, store.runs.get(run).started_at)
    return run


def test_every_query_of_the_inspections_dashboard_runs(filled: str) -> None:
    answers = {}
    with psycopg.connect(filled) as conn:
        for panel in panels("inspections"):
            (target,) = panel["targets"]
            sql = target["rawSql"]
            sql = sql.replace("$__timeFrom()", "timestamptz '2000-01-01'")
            sql = sql.replace("$__timeTo()", "timestamptz '2100-01-01'")
            assert "$" not in sql
            answers[panel["title"]] = conn.execute(sql.encode()).fetchall()
    assert answers["Runs by status"] == [("completed", 1)]
    assert answers["Images that could not be inspected, by error"] == [("image_truncated", 1)]
    ((_, project, rate),) = answers["Reject rate by day"]
    assert project == "bottles"
    assert rate == pytest.approx(1 / 3)
    assert len(answers["Newest runs"]) == 1


def test_every_metric_of_the_service_dashboard_exists() -> None:
    metrics = Metrics(list)
    metrics.count_request(("", ""), None)
    exported = set(re.findall(r"^# TYPE (\w+)", metrics.exposition().decode(), flags=re.MULTILINE))
    exported |= {"Time_bucket"}  # of the histogram
    units = {"DesiredInferenceUnits", "InServiceInferenceUnits"}  # there once a model is hosted
    words: set[str] = set()
    for panel in panels("service"):
        for target in panel["targets"]:
            words |= set(re.findall(r"\b([A-Z]\w+)\b(?=[\[)])", target["expr"]))
    words.discard("ProjectName")
    assert "ProcessedImageCount_total" in words
    assert words <= exported | units


# -- roles ----------------------------------------------------------------------------------------


@pytest.fixture
def roles(filled: str, postgresql_server: PostgresServer) -> Iterator[dict[str, str]]:
    """The URL for a login of each role."""
    script = (DEPLOYMENTS / "sql" / "grants.sql").read_text()
    with psycopg.connect(filled, autocommit=True) as conn:
        for _ in range(2):  # again after an upgrade
            conn.execute(script.encode())
        names = ("reader", "auditor", "reviewer", "engineer", "pages", "runner")
        for name in names:
            conn.execute(f"DROP ROLE IF EXISTS a_{name}".encode())
            conn.execute(f"CREATE ROLE a_{name} LOGIN IN ROLE lfv_{name}".encode())
    try:
        yield {
            name: make_url(filled).set(username=f"a_{name}").render_as_string(hide_password=False)
            for name in names
        }
    finally:
        with psycopg.connect(filled, autocommit=True) as conn:
            for name in names:
                conn.execute(f"DROP OWNED BY lfv_{name}; DROP ROLE a_{name}".encode())
                conn.execute(f"DROP ROLE lfv_{name}".encode())


def test_a_reader_reads_a_reviewer_reviews_and_a_runner_runs(roles: dict[str, str]) -> None:
    with open_store(roles["reader"]) as store:
        (run,) = store.runs.list()
        rows = list(store.results.rows(run.run_id))
        assert len(rows) == 4
        with pytest.raises(StoreError):
            a_run(store)
        with pytest.raises(StoreError):
            review(store, rows)
    for role in ("reviewer", "pages"):
        with open_store(roles[role]) as store:
            review(store, rows)
    with open_store(roles["pages"]) as store:
        store.trainings.record(NewTraining(a_model(store, "2"), "train.manifest", after(1), "ana"))
    with open_store(roles["reviewer"]) as store, pytest.raises(StoreError):
        a_run(store)
    for role, may in (("reviewer", False), ("runner", False), ("engineer", True), ("pages", True)):
        with open_store(roles[role]) as store:
            model_id = store.models.list()[0 if role == "pages" else 1].model_id
            try:
                store.approvals.approve(model_id, decided_by="ana", reason="compared")
            except StoreError:
                assert not may, role
            else:
                assert may, role
    with open_store(roles["runner"]) as store:
        run_id = begin_as_runner(store)
    with open_store(roles["reviewer"]) as store:  # while the run records
        review(store, list(store.results.rows(run_id)))
    with open_store(roles["runner"]) as store:
        store.runs.set_status(run_id, "completed", None, after(99))
    with open_store(roles["auditor"]) as store:
        assert store.audit.verify().ok
    forbidden = [b"DROP TABLE inspections", b"DELETE FROM inspections"]
    for role in roles:
        hashes = [] if role in {"auditor", "pages"} else [b"SELECT password_hash FROM users"]
        with psycopg.connect(roles[role]) as conn:
            for statement in forbidden + hashes:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    conn.execute(statement)
                conn.rollback()


def review(store: Store, rows: list[dict[str, Any]]) -> None:
    (row,) = [one for one in rows if one["verdict"] == "review"]
    store.reviews.record(
        NewReview(row["inspection_id"], "accept", reviewer="Ana", comment="a shadow")
    )


def begin_as_runner(store: Store) -> str:
    model = a_model(store)
    store.models.set_pace(model, ModelPace(8, 1, 40.0, after(1)))
    run = a_run(store, model, source="/data/camera1")
    at_time(after(0), store.leases.acquire, model, run, **LEASE)
    store.inspections.record(run, [judged(model, 5, image="another")])
    store.inspections.record(run, [segmented(model, 6, "review", image="a third")])
    return run
