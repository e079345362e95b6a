"""Resolves version `latest` to a project's approved version, if there is one."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lfv.formats.host_kinds import LATEST
from lfv.run.errors import ModelInUse, ModelNotApproved
from lfv.run.signing import content_digest, signature
from lfv.settings import Settings
from lfv_store import Approval, Model, Run, Store, StoreError, open_store

logger = logging.getLogger(__name__)

#: What the signatures of an approval and of a withdrawal mean.
APPROVES = "I approve this version for inspections"
WITHDRAWS = "I withdraw the approval of this version"
#: The version of a request that names none.


def approval_for(store: Store, project: str, model_version: str, host: str) -> Approval | None:
    """Return the approval to which `model_version` refers.

    None if it names a version itself, or if no version is approved.
    """
    if model_version != LATEST:
        return None
    return store.approvals.current(project, host=host)


def approval_text(approval: Approval) -> str:
    """Describe who approved a version, and when: 'approved by Ana Ruiz on 2026-03-04'."""
    return f"approved by {approval.decided_by} on {approval.decided_at:%Y-%m-%d}"


@dataclass(frozen=True)
class LatestVersion:
    """The version that runs use if they name none, after the training of `trained`.

    `approved` is the approval that counts, if there is one. `before` is the version before
    `trained` that is recorded, if there is one.
    """

    project: str
    trained: str
    approved: Approval | None
    before: str | None

    def text(self) -> str | None:
        """Return it as a sentence with the command that changes it; None for a first version."""
        approve = f"lfv models approve {shlex.quote(self.project)}"
        if self.approved is not None:
            return (
                f"runs that name no version stay with version {self.approved.model_version}, "
                f"{approval_text(self.approved)}; `{approve} {self.trained} --reason WHY` makes "
                "them use this one"
            )
        if self.before is None:
            return None
        return (
            "scheduled and other runs that name no version use this one from the next run on; "
            f"`{approve} {self.before} --reason WHY` keeps them with version {self.before}"
        )


def latest_after_training(store: Store, project: str, trained: str, host: str) -> LatestVersion:
    """Return which version runs use if they name none, after a training of `trained`."""
    earlier = (model.key.model_version for model in store.models.find(project, host=host))
    return LatestVersion(
        project,
        trained,
        store.approvals.current(project, host=host),
        next((version for version in earlier if version != trained), None),
    )


def version_to_stop(settings: Settings, project: str, model_version: str, *, force: bool) -> str:
    """Return the version that a run would use, so that `stop` stops the same version.

    Without a database or, with `force`, if it is unavailable, `latest` is returned unresolved.

    Raises:
        ModelInUse: The database is unavailable, and `force` is not given.
    """
    file = settings.store_file
    if model_version != LATEST or (file is not None and not file.exists()):
        return model_version
    try:
        with open_store(settings.store_url) as store:
            approval = approval_for(store, project, model_version, settings.host)
    except StoreError as error:
        if not force:
            raise ModelInUse(
                "the approved version is unknown, because the results database is unavailable "
                f"({error}); name the version with --model-version, or stop the newest with --force"
            ) from error
        logger.warning("the newest version is stopped; whether another is approved: %s", error)
        return model_version
    return model_version if approval is None else approval.model_version or model_version


def check_approved(approval: Approval, model_id: int) -> None:
    """Check that a model is the one that was approved. Raises ModelNotApproved."""
    if model_id != approval.model_id:
        raise ModelNotApproved(
            f"version {approval.model_version} of {approval.project_name} is "
            f"{approval_text(approval)}, but here it is another model: in another account or "
            "region, or trained again since. Name a version with --model-version, or approve this "
            "one after a run with it (`lfv models approve`)"
        )


def approval_digest(
    model: Model, model_version: str | None, reason: str, comparison: Mapping[str, Any] | None
) -> str:
    """Return the SHA-256 (hex) that the signature of an approval signs.

    Args:
        model: A model of the project; of an approval, the one that is approved.
        model_version: The approved version; None of a withdrawal.
        reason: Why.
        comparison: The figures on which it was decided, if there are any.
    """
    return content_digest(
        {
            "host": model.key.host,
            "project_name": model.key.project_name,
            "model_version": model_version,
            "model_arn": None if model_version is None else model.key.model_arn,
            "reason": reason,
            "comparison": comparison,
        }
    )


def sign_approval(
    signed_by: str,
    model: Model,
    model_version: str | None,
    reason: str,
    comparison: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the signature of an approval, by a person whose password was just confirmed.

    The arguments are those of `approval_digest`.
    """
    meaning = WITHDRAWS if model_version is None else APPROVES
    digest = approval_digest(model, model_version, reason, comparison)
    return signature(signed_by, meaning, digest)


def find_model(store: Store, project: str, model_version: str, host: str) -> Model | None:
    """Return the most recently used model of a project with this version, or None.

    For `latest`, return the approved version, or the most recently used one if none is approved.
    """
    approval = approval_for(store, project, model_version, host)
    if approval is not None and approval.model_id is not None:
        return store.models.get(approval.model_id)
    found = store.models.find(project, host=host)
    return next((one for one in found if model_version in {LATEST, one.key.model_version}), None)


def approval_of(run: Run, store: Store) -> str | None:
    """Describe who approved the version of a run, and when; None if no approval chose it."""
    number = run.parameters.get("approval")
    found = store.approvals.get(number) if isinstance(number, int) else None
    return None if found is None else approval_text(found)
