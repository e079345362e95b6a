"""`lfv review`: list inspections to review, record reviews, export them for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lfv.cli import output
from lfv.cli.common import (
    find_run,
    local_time,
    person,
    settings_from,
    short_id,
    store_from,
)
from lfv.cli.errors import CommandError
from lfv.cli.groups import ReviewGroup
from lfv.cli.options import (
    DatabaseUrlOption,
    JsonOption,
    PasswordOption,
    RunArgument,
    examples,
    output_file,
)
from lfv.cli.short_texts import answer, reasons_text
from lfv.cli.signing import SignAsOption, required_signer
from lfv.formats.words import count_of

if TYPE_CHECKING:
    from lfv_store import Review

RunOption = Annotated[str | None, typer.Option("--run", metavar="RUN", help="Only this run.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        name="review",
        cls=ReviewGroup,
        help="List inspections to review, record reviews, and export them for training.",
    )
    group.command("list", epilog=examples("lfv review", "lfv review --run last --json"))(list_)
    group.command(
        "record",
        epilog=examples(
            "lfv review last 17 --verdict accept --by 'Ana Ruiz' --comment 'dust, wiped off'",
        ),
    )(record)
    group.command(
        "export",
        epilog=examples(
            "lfv review export -o reviewed.manifest",
            "lfv train reviewed.manifest --project cookies",
        ),
    )(export)
    app.add_typer(group)


def list_(
    *,
    run: RunOption = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many to list.")
    ] = 50,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the inspections to review, the oldest first.

    These have the verdict 'review' and no review yet.
    """
    with store_from(settings_from(database_url=database_url)) as store:
        run_id = find_run(store, run).run_id if run is not None else None
        waiting = store.reviews.queue(run_id=run_id, limit=limit)
        total, _ = store.review_leases.waiting("", run_id=run_id)
    if total > len(waiting):
        output.note(f"{len(waiting)} of {total} are listed; --limit lists more")
    if as_json:
        output.show_json([asdict(one) for one in waiting])
        return
    columns = ("run", "line", "image", "model's answer", "why", "inspected")
    rows = [
        (
            short_id(inspection.run_id),
            inspection.line_number,
            inspection.source_ref,
            answer(inspection.is_anomalous, inspection.confidence),
            reasons_text(inspection.reasons),
            local_time(inspection.inspected_at),
        )
        for inspection in waiting
    ]
    output.show_table(columns, rows, right=("line",))
    if not waiting:
        output.note("nothing to review")


def record(
    run: RunArgument,
    line: Annotated[int, typer.Argument(metavar="LINE", min=1, help="Line of the manifest.")],
    *,
    verdict: Annotated[
        Literal["accept", "reject", "unsure"],
        typer.Option("--verdict", help="The reviewer's verdict."),
    ],
    by: Annotated[
        str | None, typer.Option("--by", help="Name of the reviewer. Default: the current user.")
    ] = None,
    comment: Annotated[
        str, typer.Option("--comment", help="Reason, stored with the review.", show_default=False)
    ] = "",
    sign_as: SignAsOption = None,
    password_stdin: PasswordOption = False,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record a reviewer's verdict on one line of a run.

    'unsure' leaves the line for another reviewer. The model's answer, the policy's verdict and
    earlier reviews are kept. With LFV_SIGNATURES, the review is signed with the password.
    """
    from lfv.run.active import open_reader
    from lfv.run.report import report_run
    from lfv.run.verdicts.review import ANSWERS, record_review

    reviewer = person(by)
    settings = settings_from(database_url=database_url)
    with store_from(settings) as store:
        run_id = find_run(store, run).run_id
        signed_by = required_signer(
            settings, store, sign_as, reviewer, "reviewer", from_stdin=password_stdin
        )
        reviewer = signed_by or reviewer
        recorded = record_review(
            store,
            run_id,
            line,
            ANSWERS[verdict],
            reviewer=reviewer,
            comment=comment,
            is_signed=signed_by is not None,
        )
        if settings.report_path(run_id).exists():
            with open_reader(settings) as reader:
                report_run(run_id, store, reader, settings)
        inspection = store.results.line(run_id, line)
        waiting, _ = store.review_leases.waiting(reviewer, run_id=run_id)
        queue = store.reviews.queue(run_id=run_id, limit=2)
    following = next((one.line_number for one in queue if one.line_number != line), None)
    if as_json:
        shown = {
            "review_id": recorded.review_id,
            "history": [asdict(review) for review in recorded.history],
            "policy_verdict": inspection["verdict"],
            "final_verdict": inspection["final_verdict"],
            "left_to_review": waiting,
            "next_line": following,
        }
        output.show_json(shown)
        return
    output.show(f"{recorded.source_ref}: {verdict}, reviewed by {reviewer}")
    output.show_facts(_about(inspection, recorded.history[:-1], waiting, following))


def _said(review: Review) -> str:
    if review.kind == "undo":
        return "taken back"
    return "unsure" if review.verdict == "review" else review.verdict


def _about(
    inspection: Mapping[str, Any], earlier: Sequence[Review], waiting: int, following: int | None
) -> dict[str, Any]:
    """Return what else is known of a part that was reviewed, and what is left of its run."""
    policy = f"{inspection['verdict']}: {reasons_text(inspection['reasons'] or ())}"
    left = "nothing of this run" if not waiting else f"{waiting} of this run"
    return {
        "model's answer": answer(inspection["is_anomalous"], inspection["confidence"])
        or f"none, {inspection['error']}",
        "by the policy": policy.rstrip(": ") if inspection["verdict"] else None,
        "earlier reviews": ", ".join(f"{_said(review)} by {review.reviewer}" for review in earlier),
        "left to review": left + (f", next line {following}" if following else ""),
    }


def export(
    *,
    file: Annotated[
        Path | None,
        output_file("Manifest to write. Default: standard output."),
    ] = None,
    run: RunOption = None,
    database_url: DatabaseUrlOption = None,
) -> None:
    """Write the reviewed images as a Ground Truth manifest, ready to train on.

    An accepted image is labelled 'normal', a rejected one 'anomaly', by its last review. An image
    that was reviewed in several runs appears once. References to images are those of the runs.
    """
    from lfv.run.verdicts.review import reviewed_manifest

    with store_from(settings_from(database_url=database_url)) as store:
        run_id = find_run(store, run).run_id if run is not None else None
        rows = list(reviewed_manifest(store, run_id))
    if not rows:
        raise CommandError(
            "no image has been reviewed yet; `lfv review` lists the inspections to review"
        )
    lines = b"".join(rows)
    if file is None:
        output.write_bytes(lambda stream: stream.write(lines))
        return
    file.write_bytes(lines)
    output.show(f"{file}: {count_of(len(rows), 'reviewed image')}")
