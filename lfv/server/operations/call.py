"""The argument of operations' handlers: the transaction, limits and background work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from lfv.server.database import Transaction
from lfv.server.options import Limits
from lfv.server.state import models, projects
from lfv.server.state.models import Model
from lfv.server.state.projects import Project
from lfv.server.state.tokens import PageTokens, fingerprint

if TYPE_CHECKING:  # it imports what the operations need
    from lfv.server.background import BackgroundWork

Members = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """One call of an operation.

    Attributes:
        tx: The transaction that the call reads and writes in.
        work: The service's background work.
        limits: Quotas of the service.
        page_tokens: Reads and creates NextToken values.
        region: AWS region in ARNs.
        account_id: AWS account in ARNs.
        now: Time of the call, Unix seconds.
    """

    tx: Transaction
    work: BackgroundWork
    limits: Limits
    page_tokens: PageTokens
    region: str
    account_id: str
    now: float

    def project(self, members: Members) -> Project:
        """Return the project that `ProjectName` names. Raises NotFoundError."""
        return projects.get(self.tx, members["ProjectName"])

    def model(self, members: Members) -> Model:
        """Return the model that `ModelVersion` names. Raises NotFoundError."""
        return models.get(self.tx, self.project(members), members["ModelVersion"])

    def arn(self, resource: str) -> str:
        """Return the ARN of a resource, such as `project/NAME`."""
        return f"arn:aws:lookoutvision:{self.region}:{self.account_id}:{resource}"

    def after_commit(self, action: Callable[[], object]) -> None:
        """Call `action` once the transaction is committed."""
        self.tx.after_commit.append(action)

    def page(
        self,
        operation: str,
        members: Members,
        fetch: Callable[[int, int], list[T]],
        cursor: Callable[[T], int],
    ) -> tuple[list[T], str | None]:
        """Return one page of a list, and the token of the next page or None.

        Args:
            operation: Name of the operation; a token is valid for one operation only.
            members: The request. A token is valid only with the same filters.
            fetch: `fetch(after, size)` returns up to `size` items whose cursor is above `after`.
            cursor: Returns an item's position in the list.
        """
        size = members.get("MaxResults", 100)
        criteria = {k: v for k, v in members.items() if k not in ("NextToken", "MaxResults")}
        listing = f"{operation}:{fingerprint(criteria)}"
        after = self.page_tokens.read(listing, members.get("NextToken"))
        found = fetch(after, size + 1)
        if len(found) <= size:
            return found, None
        return found[:size], self.page_tokens.make(listing, cursor(found[size - 1]))


Handler = Callable[[Call, Members], Members]
