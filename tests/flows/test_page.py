"""A run's page on Prefect, and the events it emits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.schemas.objects import FlowRun
from pydantic import SecretStr

from flows import events, naming, prefect_variables
from flows.blocks import LfvHost, LfvMail, LfvStore, settings_of_blocks
from flows.inspect_images import inspect_images
from flows.parameters import HostOptions
from flows.progress import progress_text
from lfv.run.errors import LimitReached
from lfv_store import Store
from tests.support.endpoints import Endpoint
from tests.support.pictures import make_pictures


@pytest.mark.parametrize(
    ("source", "lot"),
    [
        ("/data/lots/lot-41.manifest", "lot-41"),
        ("s3://plant/line-3/", "line-3"),
        ("/data/incoming", "incoming"),
        ("/data/2026.11.26", "2026.11"),
        ("", ""),
    ],
)
def test_a_lot_is_the_last_part_of_its_source(source: str, lot: str) -> None:
    assert naming.lot_of(source) == lot


def test_a_flow_run_is_named_by_product_lot_and_trigger(monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = {"project": "cookies", "source": "/data/lot-41.csv", "triggered_by": ""}
    known = SimpleNamespace(flow_run=SimpleNamespace(parameters=parameters))
    monkeypatch.setattr(naming, "runtime", known)
    monkeypatch.setattr(naming, "deployment_name", lambda: "scheduled")
    assert naming.run_name() == "cookies · lot-41 · scheduled"
    parameters["triggered_by"] = "ana"
    assert naming.run_name() == "cookies · lot-41 · ana"


@pytest.mark.parametrize(
    ("given", "by_the_clock", "creator", "expected"),
    [
        ("schedule", True, None, "schedule"),
        ("schedule", False, None, "by hand"),
        ("schedule", False, "Ana Ruiz", "Ana Ruiz"),
        ("event", False, "an automation", "event"),
        ("lfv watch (ana)", False, None, "lfv watch (ana)"),
    ],
)
def test_only_scheduled_runs_are_named_schedule(
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    by_the_clock: bool,
    creator: str | None,
    expected: str,
) -> None:
    flow_run = FlowRun.model_validate(
        {
            "flow_id": uuid4(),
            "deployment_id": uuid4(),
            "auto_scheduled": by_the_clock,
            "created_by": {"display_value": creator} if creator else None,
        }
    )
    context = SimpleNamespace(get=lambda: SimpleNamespace(flow_run=flow_run))
    monkeypatch.setattr(naming, "FlowRunContext", context)
    assert naming.started_by(given) == expected


def test_progress_has_rate_time_left_and_cost() -> None:
    assert progress_text(0, 100, 0.0, 0.0) == "0 of 100 images"
    assert progress_text(50, 2050, 10, 4) == (
        "50 of 2,050 images, 5.0 a second, about 7 min left, 0.01 USD so far"
    )
    assert progress_text(100, 100, 10, 0) == "100 of 100 images, 10.0 a second"


def test_the_summary_links_to_the_report_if_ui_url_is_set(
    images: Path, store: Store, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = inspect_images(source=str(images), project="parts")
    assert f"report: `{home / 'runs' / summary.run_id / 'report.html'}`" in summary.markdown()
    monkeypatch.setenv("LFV_UI_URL", "https://lfv.plant.example/")
    summary = inspect_images(source=str(images), project="parts")
    address = f"https://lfv.plant.example/runs/{summary.run_id}/report"
    assert f"[report]({address})" in summary.markdown()


@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")  # in Apprise
def test_mail_is_sent_with_the_settings_of_the_block() -> None:
    mail = LfvMail(
        smtp_host="mail.plant.example",
        sender="lfv@plant.example",
        recipients=["qa@plant.example", "night@plant.example"],
        user="lfv",
        password=SecretStr("p@ss"),
    )
    url = mail.apprise_url()
    assert url.startswith("mailtos://lfv:p%40ss@mail.plant.example:587/?")
    assert "mode=starttls" in url
    assert "to=qa%40plant.example%2Cnight%40plant.example" in url


def test_blocks_are_settings_of_a_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LFV_DATABASE_URL", "LFV_HOST", "LFV_HOST_OPTIONS", "LFV_ENDPOINT_URL"):
        monkeypatch.setenv(name, "")  # and put back afterwards
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.setenv(name, "x")
    url = f"sqlite:///{home / 'elsewhere.db'}"
    LfvStore(url=SecretStr(url)).save("line-3", overwrite=True)
    LfvHost(
        kind="sagemaker",
        endpoint_url="http://127.0.0.1:1",
        options=HostOptions(instance_type="ml.m5.large", network_isolation=False),
        access_key_id=SecretStr("key"),
        secret_access_key=SecretStr("secret"),
    ).save("line-3", overwrite=True)
    settings = settings_of_blocks("line-3", "line-3")
    assert settings.store_url == url
    assert (settings.host, settings.endpoint_url) == ("sagemaker", "http://127.0.0.1:1")
    options = {"instance_type": "ml.m5.large", "network_isolation": "False"}
    assert settings.host_options == options
    assert settings_of_blocks() == settings  # what a child process of the run has


def test_an_invalid_limit_in_a_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    values: dict[str, Any] = {
        prefect_variables.MAX_COST: "2.5",
        prefect_variables.REJECT_RATE_LIMIT: "many",
    }
    monkeypatch.setattr(prefect_variables, "_variable", values.get)
    assert prefect_variables.max_cost() == 2.5
    assert prefect_variables.policy() is None
    with pytest.raises(ValueError, match="lfv_reject_rate_limit must be a number"):
        prefect_variables.reject_rate_limit()


class Emitted:
    """The events of a test, instead of a server's."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, Mapping[str, Any]]] = []

    def __call__(
        self, event: str, resource: Mapping[str, str], payload: Mapping[str, Any], **_: object
    ) -> None:
        self.events.append((event, resource["prefect.resource.id"], payload))

    @property
    def names(self) -> list[str]:
        return [event for event, _, _ in self.events]


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> Emitted:
    found = Emitted()
    monkeypatch.setattr(events, "emit_event", found)
    return found


def test_a_run_emits_its_events(images: Path, store: Store, emitted: Emitted) -> None:
    summary = inspect_images(source=str(images), project="parts", confidence=0.0)
    assert summary.counts.rejected > 0.3 * summary.counts.total  # the limit of a high rate
    assert emitted.names == [
        events.RUN_STARTED,
        events.MODEL_STARTED,
        events.MODEL_STOPPED,
        events.RUN_COMPLETED,
        events.REJECT_RATE_HIGH,
    ]
    (_, started, _), (_, model, _), *_, (_, _, high) = emitted.events
    assert started == f"lfv.run.{summary.run_id}"
    assert model == "lfv.model.lookoutvision.parts.1"
    assert high["rejected"] == summary.counts.rejected
    assert high["reject_rate"] == summary.counts.reject_rate


@pytest.mark.usefixtures("few_requests")
def test_reaching_a_limit_emits_an_event(
    images: Path, endpoint: Endpoint, store: Store, emitted: Emitted
) -> None:
    make_pictures(images, 60, first=100)
    endpoint.script(detect_seconds=0.1)
    with pytest.raises(LimitReached):
        inspect_images(source=str(images), project="parts", max_hosted_minutes=0.01)
    assert emitted.names[-2:] == [events.BUDGET_REACHED, events.RUN_FAILED]
    assert "resume" in emitted.events[-1][2]["message"]


def test_a_model_of_somebody_else_has_no_events(
    images: Path, endpoint: Endpoint, store: Store, emitted: Emitted
) -> None:
    endpoint.script(hosted=True)
    inspect_images(source=str(images), project="parts", confidence=1.0)
    assert emitted.names == [events.RUN_STARTED, events.RUN_COMPLETED]


def test_a_server_that_refuses_events_does_not_end_the_run(
    images: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise ConnectionError("no server")

    monkeypatch.setattr(events, "emit_event", refuse)
    assert inspect_images(source=str(images), project="parts").status == "completed"
