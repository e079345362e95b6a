"""Builds the next version's manifest: that of the last training, corrected by reviews."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from lfv.client.manifests import read_manifest
from lfv.client.masks import read_mask
from lfv.client.sources import SourceReader
from lfv.formats.errors import LfvError
from lfv.formats.folder_layout import SPLIT, split_of
from lfv.formats.labels import TEST
from lfv.formats.manifest.groundtruth import INSPECTION
from lfv.formats.manifest.records import ManifestItem
from lfv.formats.manifest.writing import labelled_row
from lfv.run.models.training import names_of
from lfv.run.verdicts.drawn_masks import mask_of
from lfv_store import Review, Store, Training


@dataclass(frozen=True)
class NextManifest:
    """A manifest for the next version: images of the last training, with corrections.

    `corrected` images had another label there; `added` ones were not in it. `note` says what is
    missing.
    """

    file: Path
    kept: int
    corrected: int
    added: int
    note: str = ""

    @property
    def images(self) -> int:
        """The number of lines of the manifest."""
        return self.kept + self.corrected + self.added


@dataclass(frozen=True)
class NextImages:
    """What the next version of a model will learn from, before its manifest is written.

    `trained` is the number of training images of its last training, None if it was trained
    elsewhere or the number is not recorded. `accepted` and `rejected` are reviewed images, `drawn`
    those of them with a mask that a person drew.
    """

    trained: int | None
    accepted: int
    rejected: int
    drawn: int

    @property
    def reviewed(self) -> int:
        """The number of reviewed images."""
        return self.accepted + self.rejected


class NothingReviewed(Exception):
    """No image of the project has been reviewed."""


def next_manifest(
    store: Store, reader: SourceReader, model_id: int, folder: Path, masks: Path
) -> NextManifest:
    """Write the manifest for the next version of a model's project into `folder`.

    It contains the images of the model's last training with their labels and masks, and all
    reviewed images of the project's runs with the labels of their last reviews. An image whose
    label changes loses its mask, unless one was drawn with the review and is in `masks`. A split
    into train and test is kept.

    Raises:
        NothingReviewed: No image of the project has been reviewed.
        OSError: The file cannot be written.
    """
    model = store.models.get(model_id)
    reviews = _reviews(store, model.key.project_name)
    if not reviews:
        raise NothingReviewed(
            f"no image of project {model.key.project_name} has been reviewed yet; review some first"
        )
    trainings = store.trainings.of_model(model_id)
    kept = corrected = 0
    note = "" if trainings else "The model was trained elsewhere: only reviewed images are in it."
    rows: list[dict[str, object]] = []
    seen: set[str] = set()
    try:
        for item in _labelled_items(trainings[0] if trainings else None, reader):
            review = reviews.get(item.source_ref)
            is_defective = item.is_anomalous is True
            if review is not None:
                is_defective = review.verdict == "reject"
            same = is_defective == item.is_anomalous
            drawn = None if review is None else mask_of(review, masks)
            mask = _mask(item, reader, masks) if same else None
            colors = item.mask_colors
            if drawn is not None:
                mask, colors = drawn
            row = labelled_row(item.source_ref, is_defective, mask, colors)
            split = split_of(item.attributes)
            rows.append(row | ({SPLIT: split} if split else {}))
            seen.add(item.source_ref)
            kept, corrected = kept + same, corrected + (not same)
    except LfvError as error:
        rows, kept, corrected = [], 0, 0
        seen.clear()
        note = f"The last training's images cannot be read ({error}); only reviewed ones are in it."
    added = [review for ref, review in reviews.items() if ref not in seen]
    rows += [_row(one, mask_of(one, masks)) for one in added]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{model.key.project_name}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.manifest"
    with file.open("xb") as stream:
        stream.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
    return NextManifest(file, kept, corrected, len(added), note)


def next_images(store: Store, model_id: int, masks: Path) -> NextImages:
    """Count the images of the next version's manifest without reading the last training's."""
    reviews = _reviews(store, store.models.get(model_id).key.project_name).values()
    last = next(iter(store.trainings.of_model(model_id)), None)
    trained = None if last is None else (last.images.get("train") or {}).get("images")
    rejected = sum(review.verdict == "reject" for review in reviews)
    return NextImages(
        trained=trained if isinstance(trained, int) else None,
        accepted=len(reviews) - rejected,
        rejected=rejected,
        drawn=sum(mask_of(review, masks) is not None for review in reviews),
    )


def trained_on(store: Store, reader: SourceReader, model_id: int) -> frozenset[str]:
    """Return references of the images that a model was last trained on, without test images.

    Empty for a model that was trained elsewhere.

    Raises:
        lfv.formats.errors.LfvError: The list of images is missing or unreadable.
    """
    trainings = store.trainings.of_model(model_id)
    items = _labelled_items(trainings[0] if trainings else None, reader)
    return frozenset(item.source_ref for item in items if split_of(item.attributes) != TEST)


def _row(review: Review, drawn: tuple[str, Mapping[str, str]] | None) -> dict[str, object]:
    mask, colors = drawn or (None, {})
    return labelled_row(review.source_ref, review.verdict == "reject", mask, colors)


def _mask(item: ManifestItem, reader: SourceReader, folder: Path) -> str | None:
    """Return the item's mask; one that must be merged or redrawn is written into `folder`."""
    if not item.plain_masks or not item.is_anomalous:
        return item.mask_ref
    try:
        mask = read_mask(item, reader)
    except LfvError:
        return None
    if mask.ref is not None:
        return mask.ref
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{hashlib.sha256(mask.png).hexdigest()}.png"
    file.write_bytes(mask.png)
    return str(file)


def _labelled_items(training: Training | None, reader: SourceReader) -> Iterator[ManifestItem]:
    if training is None:
        return
    profile = replace(INSPECTION, names=names_of(training))
    for record in read_manifest(training.source, reader, profile=profile):
        if isinstance(record, ManifestItem) and record.is_anomalous is not None:
            yield record


def _reviews(store: Store, project: str) -> dict[str, Review]:
    """Return the review that counts for each image of a project's runs, by reference."""
    projects: dict[str, str] = {}
    newest: dict[str, Review] = {}
    for review in store.reviews.latest():
        if review.run_id not in projects:
            projects[review.run_id] = store.runs.get(review.run_id).project_name
        if projects[review.run_id] != project or review.verdict == "review":
            continue
        known = newest.get(review.source_ref)
        if known is None or known.reviewed_at < review.reviewed_at:
            newest[review.source_ref] = review
    return newest
