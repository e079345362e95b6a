"""Prefect's API as far as tests of served and deployed flows need it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.waiting import PLENTY, wait_until

FLOW = "inspect-images"
#: What the server answers when its SQLite file is locked for too long; nothing was done then.
BUSY = 503


@dataclass(frozen=True)
class PrefectApi:
    """The REST API at `url`."""

    url: str

    def call(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """GET a path, or POST `body` to it; retry while the server is busy."""
        answers: list[Any] = []
        wait_until(lambda: self._answered(path, body, answers))
        return answers[0]

    def _answered(self, path: str, body: Mapping[str, Any] | None, answers: list[Any]) -> bool:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/{path}", data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PLENTY) as answer:
                answers.append(json.loads(answer.read() or b"null"))
        except urllib.error.HTTPError as error:
            with error:
                if error.code != BUSY:
                    raise
                return False
        return True

    def deployment(self, name: str) -> str:
        """The id of a deployment of the flow, once it exists."""
        wait_until(lambda: self._deployments(name))
        return str(self._deployments(name)[0]["id"])

    def _deployments(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call(
            "deployments/filter", {"deployments": {"name": {"any_": [name]}}}
        )
        return found

    def deploy(self, name: str, *, pool: str) -> str:
        """Deploy the installed flow to a new process work pool; return the deployment's id."""
        self.call("work_pools/", {"name": pool, "type": "process", "base_job_template": {}})
        flow = self.call("flows/", {"name": FLOW})
        deployment = {
            "name": name,
            "flow_id": flow["id"],
            "entrypoint": "flows.inspect_images.inspect_images",
            "work_pool_name": pool,
            "pull_steps": [],
        }
        return str(self.call("deployments/", deployment)["id"])

    def run(self, deployment: str, **parameters: Any) -> str:
        """Run a deployment now; return the flow run's id."""
        body = {
            "parameters": parameters,
            "state": {"type": "SCHEDULED"},
            "idempotency_key": str(uuid.uuid4()),  # a repeated request creates one flow run
        }
        return str(self.call(f"deployments/{deployment}/create_flow_run", body)["id"])

    def cancel(self, flow_run: str) -> None:
        """Cancel a flow run as its page does."""
        self.call(f"flow_runs/{flow_run}/set_state", {"state": {"type": "CANCELLING"}})

    def artifacts(self, flow_run: str) -> set[str]:
        """The keys of a flow run's artifacts."""
        wanted = {"artifacts": {"flow_run_id": {"any_": [flow_run]}}}
        return {str(found["key"]) for found in self.call("artifacts/filter", wanted)}

    def state(self, flow_run: str) -> str:
        """RUNNING, CANCELLED, ..."""
        return str(self.call(f"flow_runs/{flow_run}")["state_type"])
