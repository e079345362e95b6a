"""The automations that notify people, created as code and idempotently.

An existing automation of the same name is updated; others are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from prefect.automations import AutomationCore, EventTrigger, Posture
from prefect.client.orchestration import get_client
from prefect.events.actions import CallWebhook, SendNotification
from prefect.events.schemas.automations import Automation
from prefect.events.schemas.events import ResourceSpecification

from flows.events import (
    BUDGET_REACHED,
    MODEL_LEFT_RUNNING,
    REJECT_RATE_HIGH,
    RUN_COMPLETED,
)

_PREFIX = "lfv: "
#: The body sent to a webhook. `event` is none if the notice is about a missing event; Prefect drops
#: messages whose template fails.
_PAYLOAD = (
    '{"notice": "NOTICE", "event": {{ event.event|default(none)|tojson }}, "resource": '
    "{{ event.resource.id|default(none)|tojson }}, "
    '"payload": {{ event.payload|default({})|tojson }}}'
)
_FLOWS = ["inspect-images", "resume-inspection", "stop-idle-models"]


class Outcome(StrEnum):
    """The effect of applying an automation."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Receiver:
    """A stored block to call: a webhook or a notification block."""

    block_id: UUID
    is_webhook: bool


@dataclass(frozen=True)
class Notice:
    """A notification and its trigger: each event, or the absence of one."""

    name: str
    expect: frozenset[str]
    subject: str
    body: str
    flows: Sequence[str] = ()
    within: timedelta | None = None

    def automation(self, receivers: Sequence[Receiver]) -> AutomationCore:
        """Build the automation that notifies these receivers."""
        related: dict[str, str | list[str]] = {
            "prefect.resource.role": "flow",
            "prefect.resource.name": list(self.flows),
        }
        absent = self.within is not None
        trigger = EventTrigger(
            expect=set(self.expect),
            match_related=ResourceSpecification(related if self.flows else {}),
            posture=Posture.Proactive if absent else Posture.Reactive,
            threshold=1,
            within=self.within or timedelta(0),
        )
        return AutomationCore(
            name=_PREFIX + self.name,
            description=self.subject,
            trigger=trigger,
            actions=[self._action(receiver) for receiver in receivers],
        )

    def _action(self, receiver: Receiver) -> CallWebhook | SendNotification:
        if not receiver.is_webhook:
            return SendNotification(
                block_document_id=receiver.block_id, subject=self.subject, body=self.body
            )
        payload = _PAYLOAD.replace("NOTICE", self.name)
        return CallWebhook(block_document_id=receiver.block_id, payload=payload)


_FACTS = (
    "{% for name, value in event.payload.items() %}{{ name }}: {{ value }}\n{% endfor %}"
    "{{ event.resource.id }} at {{ event.occurred }}"
)
_FLOW_RUN = (
    "{{ flow.name }} {{ flow_run.name }} is {{ flow_run.state.name }}: "
    "{{ flow_run.state.message }}\n{{ flow_run|ui_url }}"
)


def notices(silent_hours: float | None = None) -> list[Notice]:
    """Return all notices; with `silent_hours`, also one if no run completed for as many hours."""
    found = [
        Notice(
            "reject rate high",
            frozenset({REJECT_RATE_HIGH}),
            "Many rejects: {{ event.payload.project }}",
            _FACTS,
        ),
        Notice(
            "run failed",
            frozenset(f"prefect.flow-run.{state}" for state in ("Failed", "Crashed", "TimedOut")),
            "Inspection {{ flow_run.state.name }}: {{ flow_run.name }}",
            _FLOW_RUN,
            flows=_FLOWS,
        ),
        Notice(
            "model left running",
            frozenset({MODEL_LEFT_RUNNING}),
            "A model is still running and billed",
            "See the runbook 'A model is still running'.\n" + _FACTS,
        ),
        Notice(
            "budget reached",
            frozenset({BUDGET_REACHED}),
            "Budget reached: {{ event.payload.project }}",
            _FACTS,
        ),
        Notice(
            "scheduled run missed",
            frozenset({"prefect.flow-run.Late"}),
            "A scheduled run has not started: {{ flow_run.name }}",
            "Is a worker running? " + _FLOW_RUN,
            flows=_FLOWS,
        ),
    ]
    if silent_hours is not None:
        found.append(
            Notice(
                "no run completed",
                frozenset({RUN_COMPLETED}),
                f"No inspection was completed for {silent_hours:g} hours",
                "Is the schedule active, and a worker running?",
                within=timedelta(hours=silent_hours),
            )
        )
    return found


def apply(receivers: Sequence[Receiver], wanted: Sequence[Notice]) -> dict[str, Outcome]:
    """Create or update the automations on the server; return the outcomes by name."""
    outcomes: dict[str, Outcome] = {}
    with get_client(sync_client=True) as client:
        for notice in wanted:
            core = notice.automation(receivers)
            known: list[Automation] = client.read_automations_by_name(core.name)
            if not known:
                client.create_automation(core)
                outcomes[notice.name] = Outcome.CREATED
            elif _facts(known[0]) == _facts(core):
                outcomes[notice.name] = Outcome.UNCHANGED
            else:
                client.update_automation(known[0].id, core)
                outcomes[notice.name] = Outcome.UPDATED
    return outcomes


def _facts(automation: AutomationCore) -> dict[str, Any]:
    """Return what defines the automation, for comparison with the server's copy."""
    facts = automation.model_dump(
        mode="json", include={"name", "description", "enabled", "trigger", "actions"}
    )
    facts["trigger"].pop("id", None)
    facts["trigger"]["expect"] = sorted(facts["trigger"]["expect"])
    return facts
