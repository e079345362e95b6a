"""Compares old answers with new ones; each side is an evaluation manifest or a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from lfv.client.sources import SourceReader
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.errors import LfvError
from lfv.formats.manifest import groundtruth, strict_json
from lfv.formats.manifest.detected import answer_of_row
from lfv.formats.manifest.lines import iter_lines
from lfv.formats.manifest.records import LineError
from lfv.formats.manifest.writing import ORIGINAL_REF
from lfv.formats.parity import ComparedAnswer, Pair, Parity, compare
from lfv.formats.refs import parent_of, parse_ref
from lfv.report.parity_report import DifferingImage, ParityReport, write_parity_report
from lfv.run.errors import NotComparable, RunNotFound
from lfv.run.lookup import find_run
from lfv_store import Store

#: Maximum number of disagreements shown with a picture.
MOST_SHOWN = 200


@dataclass(frozen=True)
class Side:
    """The answers of one side; `skipped` counts lines without a usable answer."""

    title: str
    answers: tuple[ComparedAnswer, ...]
    skipped: int = 0


def read_side(text: str, store: Callable[[], Store], reader: SourceReader) -> Side:
    """Read the evaluation manifest, or else the run, that `text` names.

    Raises:
        NotComparable: It names neither, or has no answer.
        LfvError: The manifest cannot be read.
    """
    if _is_place(text):
        side = _from_manifest(text, reader)
    else:
        try:
            side = _from_run(text, store())
        except RunNotFound as error:
            raise NotComparable(f"{text} is neither a file nor a run: {error}") from None
    if not side.answers:
        raise NotComparable(f"{side.title} has no model answers")
    return side


def compare_sides(old: Side, new: Side) -> Parity:
    """Compare two sides. Raises NotComparable if no image is on both."""
    found = compare(old.answers, new.answers)
    if not found.pairs:
        raise NotComparable(
            f"{old.title} and {new.title} have no image in common, by content, reference or file "
            "name; inspect the images of the old answers with the new model first"
        )
    return found


def report_parity(parity: Parity, old: Side, new: Side, reader: SourceReader, folder: Path) -> Path:
    """Write `parity.html` into `folder`; return its path. Raises OSError."""
    differing = [
        DifferingImage(pair, partial(_read, pair, reader))
        for pair in parity.disagreements[:MOST_SHOWN]
    ]
    report = ParityReport(
        parity=parity,
        old_title=old.title,
        new_title=new.title,
        old_skipped=old.skipped,
        new_skipped=new.skipped,
        differing=differing,
        made_at=datetime.now(UTC),
    )
    return write_parity_report(report, folder)


def _is_place(text: str) -> bool:
    return "://" in text or Path(text).is_file()


def _from_manifest(source: str, reader: SourceReader) -> Side:
    ref = parse_ref(source)
    answers: list[ComparedAnswer] = []
    skipped = 0
    with reader.open(ref) as opened:
        for line in iter_lines(opened.stream):
            try:
                row = strict_json.parse_object(line.data)
                item = groundtruth.item_from_row(row, line.number, parent_of(ref))
                answers.append(answer_of_row(row, item))
            except LineError:
                skipped += 1
    return Side(source, tuple(answers), skipped)


def _from_run(text: str, store: Store) -> Side:
    run = find_run(store, text)
    title = (
        f"run {run.run_id[:8]} of {run.project_name}, version {run.model_version}, on {run.host}"
    )
    counts = store.inspections.counts(run.run_id)
    return Side(title, tuple(_answers_of_run(run.run_id, store)), counts.errors)


def _answers_of_run(run_id: str, store: Store) -> Iterator[ComparedAnswer]:
    for stored in store.verdicts.candidates(run_id):
        result = DetectAnomalyResult.from_response(stored.response)
        original = stored.attributes.get(ORIGINAL_REF)
        yield ComparedAnswer(
            (stored.source_ref, *([original] if isinstance(original, str) else ())),
            result.is_anomalous,
            result.confidence,
            sha256=stored.image_sha256,
            label=stored.expected_is_anomalous,
            areas=tuple(sorted({found.name for found in result.defects})),
        )


def _read(pair: Pair, reader: SourceReader) -> bytes:
    """Read the image from the first of its places where it still exists."""
    for ref in dict.fromkeys((*pair.new.refs, *pair.old.refs)):
        try:
            return reader.read_image(ref)[0]
        except LfvError:
            continue
    raise FileNotFoundError(pair.old.refs[0])
