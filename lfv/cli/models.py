"""`lfv models`: list and package model versions, and approve the one that runs use."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lfv.cli import output
from lfv.cli.common import (
    check_local_project,
    local_time,
    person,
    settings_from,
    store_from,
)
from lfv.cli.errors import WrongUsage
from lfv.cli.groups import ModelsGroup
from lfv.cli.options import (
    BucketOption,
    ByOption,
    DatabaseUrlOption,
    EndpointUrlOption,
    HostOption,
    JsonOption,
    PasswordOption,
    ReasonOption,
    RegionOption,
    StagingOption,
    examples,
    output_file,
)
from lfv.cli.progress import Activity
from lfv.cli.short_texts import measure
from lfv.cli.signing import SignAsOption, required_signer

if TYPE_CHECKING:
    from lfv.client.catalog import ModelEntry
    from lfv.settings import Settings
    from lfv_store import Model, Store

ProjectArgument = Annotated[str, typer.Argument(metavar="PROJECT", help="Name of the project.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        name="models",
        cls=ModelsGroup,
        help="List and package model versions, and approve the one that runs use.",
    )
    group.command("list", epilog=examples("lfv models", "lfv models --project cookies --json"))(
        list_
    )
    group.command(
        "approve",
        epilog=examples(
            "lfv models approve cookies 3 --reason 'fewer false alarms on lot 17'",
            "lfv models approve cookies 3 --compared-with 2 --reason 'better' --by 'Ana Ruiz'",
        ),
    )(approve)
    group.command(
        "withdraw",
        epilog=examples("lfv models withdraw cookies --reason 'camera was replaced'"),
    )(withdraw)
    group.command(
        "package",
        epilog=examples(
            "lfv models package cookies", "lfv models package cookies 2 -o /media/line/cookies.zip"
        ),
    )(package)
    group.command("approvals", epilog=examples("lfv models approvals cookies"))(approvals)
    app.add_typer(group)


def list_(
    *,
    project: Annotated[
        str | None, typer.Option("--project", "-p", help="Only this project.")
    ] = None,
    host: HostOption = None,
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List model versions with their status and their figures.

    F1, precision and recall were measured in training. A model that is HOSTED or STARTING_HOSTING
    is billed where hosting costs money; `lfv stop` stops it. The approved version is the one that
    runs use unless they name another. Options of the training, such as --miss-cost, are listed.
    Only the first sentence of the message is shown; --json has all of it, such as remarks on the
    images.
    """
    from lfv.client.catalog import model_entries
    from lfv.run.embedded_service import api_endpoint

    settings = settings_from(
        endpoint_url=endpoint_url, region=region, host=host, database_url=database_url
    )
    with api_endpoint(settings) as url:
        entries = model_entries(
            url, settings.region, project=project, host=settings.host, with_training=True
        )
    approved = _approved_versions(settings)
    if as_json:
        output.show_json(
            [
                asdict(entry) | {"approved": (entry.project, entry.version) in approved}
                for entry in entries
            ]
        )
        return
    options = [", ".join(entry.training.words()) if entry.training else "" for entry in entries]
    columns = (
        *("project", "version", "status", "approved"),
        *("F1", "precision", "recall", "created"),
        *(["trained with"] if any(options) else []),
        "message",
    )
    rows = [
        (
            entry.project,
            entry.version,
            entry.status,
            "yes" if (entry.project, entry.version) in approved else "",
            *(measure(value) for value in (entry.f1, entry.precision, entry.recall)),
            local_time(entry.created_at),
            *([given] if any(options) else []),
            _short_message(entry),
        )
        for entry, given in zip(entries, options, strict=True)
    ]
    output.show_table(columns, rows, right=("F1", "precision", "recall"))
    if not entries:
        output.note("no models yet; `lfv train` trains one")


def approve(
    project: ProjectArgument,
    version: Annotated[str, typer.Argument(metavar="VERSION", help="The version for runs to use.")],
    *,
    reason: ReasonOption,
    by: ByOption = None,
    compared_with: Annotated[
        str | None,
        typer.Option(
            "--compared-with",
            metavar="VERSION",
            help="Compare it with this version, and keep the figures with the approval.",
        ),
    ] = None,
    sign_as: SignAsOption = None,
    password_stdin: PasswordOption = False,
    host: HostOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve a model version: runs use it unless they name another.

    It must be recorded: a run has used it, or `lfv train` has trained it. The approval is
    appended to the audit log; the next approval, or `lfv models withdraw`, ends it. Runs that have
    begun keep their version. With LFV_SIGNATURES, it is signed with the password.
    """
    from lfv.run.active import open_reader
    from lfv.run.models.approvals import sign_approval
    from lfv.run.models.compare import compare_versions

    settings = settings_from(host=host, database_url=database_url)
    with store_from(settings) as store, open_reader(settings) as reader:
        model = _model(store, project, version, settings.host)
        comparison = None
        if compared_with is not None:
            other = _model(store, project, compared_with, settings.host)
            comparison = compare_versions(store, reader, other, model).facts(other, model)
        before = store.approvals.current(project, host=settings.host)
        name = person(by)
        signed_by = required_signer(
            settings, store, sign_as, name, "engineer", from_stdin=password_stdin
        )
        made = store.approvals.approve(
            model.model_id,
            decided_by=signed_by or name,
            reason=reason,
            comparison=comparison,
            signature=sign_approval(signed_by, model, model.key.model_version, reason, comparison)
            if signed_by
            else None,
        )
    if as_json:
        output.show_json(asdict(made))
        return
    if comparison is not None:
        output.show(
            f"of {comparison['known'] - comparison['left_out_as_trained_on']} labelled or reviewed "
            f"images that both judged, version {compared_with} alone is right on "
            f"{comparison['only_first_right']}, version {version} alone on "
            f"{comparison['only_second_right']} (McNemar's test, p = {comparison['p_value']:.4f})"
        )
    instead = f", instead of version {before.model_version}" if before is not None else ""
    output.show(
        f"version {version} of {project} is approved by {made.decided_by}: runs use it unless "
        f"they name another{instead}"
    )


def withdraw(
    project: ProjectArgument,
    *,
    reason: ReasonOption,
    by: ByOption = None,
    sign_as: SignAsOption = None,
    password_stdin: PasswordOption = False,
    host: HostOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Withdraw the approval of a project: runs use the newest version again.

    The withdrawal is appended to the audit log; the approval stays recorded. With LFV_SIGNATURES
    it is signed: the password is required.
    """
    from lfv.run.models.approvals import sign_approval

    settings = settings_from(host=host, database_url=database_url)
    with store_from(settings) as store:
        name = person(by)
        signed_by = required_signer(
            settings, store, sign_as, name, "engineer", from_stdin=password_stdin
        )
        approved = store.approvals.current(project, host=settings.host)
        signed = None
        if signed_by and approved is not None and approved.model_id is not None:
            signed = sign_approval(signed_by, store.models.get(approved.model_id), None, reason)
        made = store.approvals.withdraw(
            project,
            host=settings.host,
            decided_by=signed_by or name,
            reason=reason,
            signature=signed,
            seen=approved.approval_id if signed and approved else None,
        )
    if as_json:
        output.show_json(asdict(made))
    else:
        output.show(
            f"no version of {project} is approved any more: runs use the newest unless they name "
            "one"
        )


def package(
    project: ProjectArgument,
    version: Annotated[
        str | None,
        typer.Argument(
            metavar="VERSION",
            help="The version to package. Default: the approved one, else the newest.",
        ),
    ] = None,
    *,
    file: Annotated[
        Path | None,
        output_file("File to write. Default: PROJECT-VERSION.zip in the current folder."),
    ] = None,
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    staging: StagingOption = None,
    bucket: BucketOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a model version to a file, which a device or another service can use.

    `lfv edge-agent FILE` serves it to programs that were written for Amazon's edge agent;
    `lfv serve --import FILE` makes it a model version of another machine's service. The service
    writes the archive to the bucket of --staging; the one on this machine needs none.
    """
    from lfv.run.models.packaging import package_project

    settings = settings_from(
        endpoint_url=endpoint_url,
        region=region,
        staging_uri=staging,
        buckets=bucket,
        database_url=database_url,
    )
    if file is not None and not file.parent.is_dir():
        raise WrongUsage(f"there is no folder {file.parent}; create it, or name another file")
    check_local_project(settings, project)
    chosen = version or next(
        (approved for name, approved in _approved_versions(settings) if name == project), "latest"
    )
    with Activity(f"package {project}", quiet=as_json) as activity:
        made, path = package_project(settings, project, chosen, file, progress=activity.show)
    if as_json:
        output.show_json(
            {"project": project, "model_version": made, "file": str(path)}
            | {"bytes": path.stat().st_size}
        )
        return
    output.show(f"version {made} of {project} is in {path}; `lfv edge-agent {path}` serves it")


def approvals(
    project: ProjectArgument,
    *,
    host: HostOption = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many to list.")
    ] = 20,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the approvals and withdrawals of a project, the last first."""
    settings = settings_from(host=host, database_url=database_url)
    with store_from(settings) as store:
        found = store.approvals.history(project, host=settings.host, limit=limit)
    if as_json:
        output.show_json([asdict(approval) for approval in found])
        return
    rows = [
        (local_time(one.decided_at), one.model_version or "withdrawn", one.decided_by, one.reason)
        for one in found
    ]
    output.show_table(("when", "version", "by", "why"), rows)
    if not found:
        output.note(f"no version of {project} was ever approved")


def _model(store: Store, project: str, version: str, host: str) -> Model:
    """Return the recorded model with this version. Raises WrongUsage if there is none."""
    from lfv.formats.host_kinds import LATEST
    from lfv.run.models.approvals import find_model

    found = None if version == LATEST else find_model(store, project, version, host)
    if found is None:
        raise WrongUsage(
            f"no run or training of {project} with version {version} is recorded; inspect with it "
            f"first: `lfv inspect SOURCE --project {project} --model-version {version}`"
        )
    return found


def _approved_versions(settings: Settings) -> set[tuple[str, str]]:
    """Return project and version of the approved models; none without a database."""
    from lfv_store import StoreError, open_store

    file = settings.store_file
    if file is not None and not file.exists():
        return set()
    try:
        with open_store(settings.store_url) as store:
            found = store.approvals.all_current().values()
    except StoreError as error:
        output.note(f"the approved versions are unknown: {error}")
        return set()
    return {
        (approval.project_name, approval.model_version)
        for approval in found
        if approval.host == settings.host and approval.model_version is not None
    }


def _short_message(entry: ModelEntry) -> str:
    """Return the first sentence of a message, or all of it if it reports a failure."""
    if entry.status.endswith("_FAILED"):
        return entry.message
    first, end, rest = entry.message.partition(". ")
    return f"{first}." if end and rest else entry.message
