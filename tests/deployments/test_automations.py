"""Automations on a real Prefect server, with a webhook and a mail server as receivers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flows.events import BUDGET_REACHED, MODEL_LEFT_RUNNING, REJECT_RATE_HIGH, RUN_COMPLETED
from tests.support.deployments import PrefectApi
from tests.support.prefect_server import PrefectServer, prefect_server
from tests.support.receivers import Anywhere, Mailbox, Webhook, anywhere, mailbox, webhook
from tests.support.waiting import wait_until

LFV = Path(sys.executable).with_name("lfv")
#: The minimum, 36 seconds, within which most tests of this module end.
SILENT_HOURS = "0.01"
SLACK, TEAMS = "hooks.slack.com", "prod-01.westeurope.logic.azure.com"
_NOTICES = ["reject rate high", "run failed", "model left running", "budget reached"]
_NOTICES += ["scheduled run missed", "no run completed"]


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Anywhere]:
    with anywhere(tmp_path_factory.mktemp("chats"), SLACK, TEAMS) as found:
        yield found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, chats: Anywhere) -> Iterator[PrefectServer]:
    with prefect_server(
        tmp_path_factory.mktemp("prefect"),
        **chats.environment,
        PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED="true",
        PREFECT_API_SERVICES_LATE_RUNS_LOOP_SECONDS="1",
        PREFECT_API_SERVICES_LATE_RUNS_AFTER_SECONDS="1",
        PREFECT_SERVER_SERVICES_TRIGGERS_PG_NOTIFY_RECONNECT_INTERVAL_SECONDS="1",
    ) as server:
        yield server


@pytest.fixture(scope="module")
def hook() -> Iterator[Webhook]:
    with webhook() as found:
        yield found


@pytest.fixture(scope="module")
def mails() -> Iterator[Mailbox]:
    with mailbox() as found:
        yield found


@pytest.fixture(scope="module")
def applied(server: PrefectServer, hook: Webhook, mails: Mailbox) -> dict[str, str]:
    """The result of applying for the first time."""
    return apply(server, hook, mails)


def apply(
    server: PrefectServer,
    hook: Webhook,
    mails: Mailbox,
    *options: str,
    silent_hours: str = SILENT_HOURS,
) -> dict[str, str]:
    command = [str(LFV), "automations", "apply", "--json", "--webhook", hook.url]
    command += ["--mail", "qa@plant.test", "--smtp", f"smtp://127.0.0.1:{mails.port}"]
    command += ["--slack", f"https://{SLACK}/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"]
    command += ["--teams", f"https://{TEAMS}:443/workflows/643e69f83c8944/triggers/manual/paths/"]
    command[-1] += "invoke?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=KODuebW"
    command += ["--silent-hours", silent_hours, *options]
    done = subprocess.run(
        command,
        env={**os.environ, **server.environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def send(server: PrefectServer, event: str, resource: str, **payload: Any) -> None:
    PrefectApi(server.api_url).call(
        "events",
        [
            {
                "occurred": datetime.now(UTC).isoformat(),
                "event": event,
                "resource": {"prefect.resource.id": resource},
                "payload": payload,
                "id": str(uuid.uuid4()),
            }
        ],
    )


@pytest.mark.parametrize(
    ("event", "notice", "subject"),
    [
        (REJECT_RATE_HIGH, "reject rate high", "Many rejects: cookies"),
        (MODEL_LEFT_RUNNING, "model left running", "A model is still running"),
        (BUDGET_REACHED, "budget reached", "Budget reached: cookies"),
    ],
)
def test_an_event_is_sent_by_webhook_mail_slack_and_teams(
    server: PrefectServer,
    hook: Webhook,
    mails: Mailbox,
    chats: Anywhere,
    applied: dict[str, str],
    event: str,
    notice: str,
    subject: str,
) -> None:
    run = f"lfv.run.{uuid.uuid4()}"
    send(server, event, run, project="cookies", reject_rate=0.5)
    posted = posted_about(hook, run)
    assert (posted["notice"], posted["event"]) == (notice, event)
    assert posted["payload"] == {"project": "cookies", "reject_rate": 0.5}
    wait_until(lambda: [text for text in mails.texts() if run in text], notice)
    (text,) = [text for text in mails.texts() if run in text]
    assert text.startswith(subject)
    for host in (SLACK, TEAMS):
        wait_until(lambda host=host: told_in_chat(chats, host, run), host)
        assert subject in told_in_chat(chats, host, run)[0]


def told_in_chat(chats: Anywhere, host: str, run: str) -> list[str]:
    """The messages about a run that came to a host."""
    texts = [json.dumps(content) for name, content in chats.posted if name == host]
    return [text for text in texts if run in text]


@pytest.mark.parametrize("state", ["FAILED", "CRASHED"])
def test_a_failed_run_is_notified(
    server: PrefectServer, hook: Webhook, mails: Mailbox, applied: dict[str, str], state: str
) -> None:
    name = f"cookies-{state.lower()}"
    flow_run = _flow_run(server, "inspect-images", name)
    told = {"type": state, "message": "the belt broke"}
    PrefectApi(server.api_url).call(
        f"flow_runs/{flow_run}/set_state", {"state": told, "force": True}
    )
    wait_until(lambda: [text for text in mails.texts() if name in text], name)
    (text,) = [text for text in mails.texts() if name in text]
    assert "the belt broke" in text
    assert text.startswith(f"Inspection {state.capitalize()}")
    posted = posted_about(hook, f"prefect.flow-run.{flow_run}")
    assert posted["notice"] == "run failed"
    assert posted["event"] == f"prefect.flow-run.{state.capitalize()}"
    assert posted["payload"]["validated_state"]["message"] == "the belt broke"


def posted_about(hook: Webhook, resource: str) -> dict[str, Any]:
    """What was posted to the webhook about a resource, once."""
    wait_until(lambda: [one for one in hook.posted if one["resource"] == resource], resource)
    (posted,) = [one for one in hook.posted if one["resource"] == resource]
    return posted


def test_a_missed_scheduled_run_is_notified(
    server: PrefectServer, hook: Webhook, mails: Mailbox, applied: dict[str, str]
) -> None:
    flow_run = _flow_run(server, "inspect-images", "cookies-late")
    PrefectApi(server.api_url).call(
        f"flow_runs/{flow_run}/set_state",
        {
            "state": {
                "type": "SCHEDULED",
                "state_details": {"scheduled_time": "2026-01-01T00:00:00Z"},
            },
            "force": True,
        },
    )
    wait_until(lambda: [text for text in mails.texts() if "cookies-late" in text], "late run")
    posted = posted_about(hook, f"prefect.flow-run.{flow_run}")
    assert (posted["notice"], posted["event"]) == ("scheduled run missed", "prefect.flow-run.Late")


def test_people_are_notified_if_no_run_completes(
    hook: Webhook, mails: Mailbox, applied: dict[str, str]
) -> None:
    subject = f"No inspection was completed for {SILENT_HOURS} hours"
    wait_until(lambda: [text for text in mails.texts() if text.startswith(subject)], "silence")
    wait_until(lambda: "no run completed" in [one["notice"] for one in hook.posted], "silence")


def test_applying_again_changes_nothing_and_another_limit_is_an_update(
    server: PrefectServer, hook: Webhook, mails: Mailbox, applied: dict[str, str]
) -> None:
    assert applied == dict.fromkeys(_NOTICES, "created")
    assert apply(server, hook, mails) == dict.fromkeys(_NOTICES, "unchanged")
    again = apply(server, hook, mails, silent_hours="12")
    assert again == dict.fromkeys(_NOTICES, "unchanged") | {"no run completed": "updated"}
    names = [one["name"] for one in PrefectApi(server.api_url).call("automations/filter", {})]
    assert sorted(names) == sorted(f"lfv: {name}" for name in _NOTICES)


def test_other_flows_and_events_are_not_notified(
    server: PrefectServer, hook: Webhook, mails: Mailbox, applied: dict[str, str]
) -> None:
    api = PrefectApi(server.api_url)
    other = _flow_run(server, "somebody-else-s", "not-ours")
    api.call(f"flow_runs/{other}/set_state", {"state": {"type": "FAILED"}, "force": True})
    send(server, RUN_COMPLETED, "lfv.run.quiet", project="cookies")
    last = f"lfv.run.{uuid.uuid4()}"
    send(server, REJECT_RATE_HIGH, last, project="cookies")
    wait_until(lambda: [one for one in hook.posted if one["resource"] == last])
    assert not [text for text in mails.texts() if "not-ours" in text or "lfv.run.quiet" in text]


def _flow_run(server: PrefectServer, flow: str, name: str) -> str:
    api = PrefectApi(server.api_url)
    made = api.call("flows/", {"name": flow})
    body = {"flow_id": made["id"], "name": name, "state": {"type": "PENDING"}}
    return str(api.call("flow_runs/", body)["id"])
