"""`lfv parity`: compare a new model's answers with an old one's on the same images."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lfv.cli import output
from lfv.cli.common import settings_from, store_from
from lfv.cli.errors import WrongUsage
from lfv.cli.options import (
    BucketOption,
    DatabaseUrlOption,
    JsonOption,
    RegionOption,
    examples,
    output_folder,
)
from lfv.formats.words import count_of

if TYPE_CHECKING:
    from lfv.formats.parity import ComparedAnswer, Pair, Parity, Quality
    from lfv.run.parity import Side
    from lfv_store import Store

_SHOWN = 20


def register(app: typer.Typer) -> None:
    epilog = examples(
        "lfv parity EvaluationManifest.json last",
        "lfv parity 3f7c last --output comparison",
    )
    app.command("parity", epilog=epilog)(parity)


def parity(
    old: Annotated[
        str,
        typer.Argument(
            help="Old answers: an evaluation manifest (a file or s3://), or a run by its id."
        ),
    ],
    new: Annotated[str, typer.Argument(help="New answers, likewise.")],
    *,
    folder: Annotated[
        Path | None,
        output_folder("Also write parity.html there, with pictures of the disagreements."),
    ] = None,
    region: RegionOption = None,
    bucket: BucketOption = None,
    database_url: DatabaseUrlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the answers of two models on the same images.

    Images are paired by content, else by reference, else by file name. The output has the
    agreement, McNemar's test, both sides against the labels where these are known, and all images
    on which they differ.
    """
    settings = settings_from(database_url=database_url, region=region, buckets=bucket)
    from lfv.run.active import open_reader
    from lfv.run.errors import NotComparable
    from lfv.run.parity import compare_sides, read_side, report_parity

    with ExitStack() as stack:
        reader = stack.enter_context(open_reader(settings))

        def store() -> Store:
            return stack.enter_context(store_from(settings))

        try:
            sides = (read_side(old, store, reader), read_side(new, store, reader))
            found = compare_sides(*sides)
        except NotComparable as error:
            raise WrongUsage(str(error)) from None
        report = None
        if folder is not None:
            report = report_parity(found, *sides, reader, folder)
    if as_json:
        output.show_json(_as_dict(found, *sides) | {"report": str(report) if report else None})
        return
    output.show_facts(_facts(found, *sides) | {"report": report})
    if found.disagreements:
        rows = [_row(pair) for pair in found.disagreements[:_SHOWN]]
        columns = ("image", "old", "confidence", "new", "confidence", "label")
        output.show("", output.table(columns, rows, right=("confidence",)))
    if len(found.disagreements) > _SHOWN:
        output.note(f"{len(found.disagreements) - _SHOWN} more; --json and --output have them all")


def _facts(found: Parity, old: Side, new: Side) -> dict[str, Any]:
    from lfv.report.parity_report import correctness_sentence, verdict_sentence

    agreement, interval = found.agreement or 0.0, found.interval or (0.0, 1.0)
    facts: dict[str, Any] = {
        "old": _side(old),
        "new": _side(new),
        "agreement": f"{found.agreeing} of {count_of(len(found.pairs), 'image')}, {agreement:.1%} "
        f"(95 %: {interval[0]:.1%} to {interval[1]:.1%})",
        "kappa": None if found.kappa is None else f"{found.kappa:.3f}",
        "verdicts": verdict_sentence(found.verdicts),
        "against labels": correctness_sentence(found.correctness),
    }
    for name, only in (("only old", found.only_old), ("only new", found.only_new)):
        if only:
            facts[name] = f"{count_of(len(only), 'image')}, such as {only[0].refs[0]}"
    return facts


def _side(side: Side) -> str:
    skipped = f", {count_of(side.skipped, 'line')} without one" if side.skipped else ""
    return f"{side.title}: {count_of(len(side.answers), 'answer')}{skipped}"


def _row(pair: Pair) -> tuple[str, ...]:
    label = "" if pair.label is None else _word(pair.label)
    return (
        pair.new.refs[0],
        _word(pair.old.is_anomalous),
        f"{pair.old.confidence:.3f}",
        _word(pair.new.is_anomalous),
        f"{pair.new.confidence:.3f}",
        label,
    )


def _word(is_anomalous: bool) -> str:
    return "anomaly" if is_anomalous else "normal"


def _as_dict(found: Parity, old: Side, new: Side) -> dict[str, Any]:
    counts = found.counts
    return {
        "old": {"title": old.title, "answers": len(old.answers), "skipped": old.skipped},
        "new": {"title": new.title, "answers": len(new.answers), "skipped": new.skipped},
        "images": len(found.pairs),
        "agreeing": found.agreeing,
        "agreement": found.agreement,
        "agreement_95": found.interval,
        "kappa": found.kappa,
        "both_anomalous": counts[True, True],
        "both_normal": counts[False, False],
        "mcnemar": _test(found.verdicts),
        "mcnemar_against_labels": _test(found.correctness),
        "old_against_labels": _quality(found.old_quality),
        "new_against_labels": _quality(found.new_quality),
        "only_old": [one.refs[0] for one in found.only_old],
        "only_new": [image.refs[0] for image in found.only_new],
        "disagreements": [
            {
                "old_ref": pair.old.refs[0],
                "new_ref": pair.new.refs[0],
                "sha256": pair.new.sha256 or pair.old.sha256,
                "label": pair.label,
                "old": _answer(pair.old),
                "new": _answer(pair.new),
            }
            for pair in found.disagreements
        ],
    }


def _answer(found: ComparedAnswer) -> dict[str, Any]:
    return {
        "is_anomalous": found.is_anomalous,
        "confidence": found.confidence,
        "anomalies": found.areas,
    }


def _test(test: Any) -> dict[str, Any] | None:
    if test is None:
        return None
    return {"old_only": test.only_first, "new_only": test.only_second, "p": test.p_value}


def _quality(found: Quality | None) -> dict[str, Any] | None:
    if found is None:
        return None
    shares = {"precision": found.precision, "recall": found.recall, "accuracy": found.accuracy}
    return asdict(found) | shares
