"""The context of an operation's handler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from lfv.server.database import Transaction
from lfv.server.options import Limits
from lfv.server.state import models, projects
from lfv.server.state.models import Model
from lfv.server.state.projects import Project
from lfv.server.state.tokens import PageTokens, fingerprint

Members = dict[str, Any]
T = TypeVar("T")


class Work(Protocol):
    """Work that continues after the answer. Methods only start it, and never block."""

    def read_manifest(self, project_id: int, kind: str) -> None: ...
    def apply_changes(self, project_id: int, kind: str) -> None: ...
    def prepare_training(self, model_id: str, lines: Mapping[str, Sequence[str]]) -> None: ...
    def train(self, model_id: str) -> None: ...
    def training_progress(self, model_id: str) -> str | None: ...
    def host(self, model_id: str) -> None: ...
    def unhost(self, model_id: str) -> None: ...
    def remove_model(self, model_id: str) -> None: ...
    def package(self, job_id: int) -> None: ...


@dataclass(frozen=True)
class Call:
    tx: Transaction
    work: Work
    limits: Limits
    pages: PageTokens
    region: str
    account_id: str
    now: float
    """Unix seconds."""

    def project(self, members: Members) -> Project:
        return projects.get(self.tx, members["ProjectName"])

    def model(self, members: Members) -> Model:
        return models.get(self.tx, self.project(members), members["ModelVersion"])

    def arn(self, resource: str) -> str:
        return f"arn:aws:lookoutvision:{self.region}:{self.account_id}:{resource}"

    def after_commit(self, action: Callable[[], object]) -> None:
        self.tx.after_commit.append(action)

    def page(
        self,
        operation: str,
        members: Members,
        fetch: Callable[[int, int], list[T]],
        cursor: Callable[[T], int],
    ) -> tuple[list[T], str | None]:
        """One page and the token of the next. ``fetch(after, size)`` returns items by cursor."""
        size = members.get("MaxResults", 100)
        criteria = {k: v for k, v in members.items() if k not in ("NextToken", "MaxResults")}
        listing = f"{operation}:{fingerprint(criteria)}"
        after = self.pages.read(listing, members.get("NextToken"))
        found = fetch(after, size + 1)
        if len(found) <= size:
            return found, None
        return found[:size], self.pages.make(listing, cursor(found[size - 1]))


Handler = Callable[[Call, Members], Members]
