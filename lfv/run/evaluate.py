"""Compares the answers of a run with the labels of its manifest."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import replace
from functools import cached_property

from lfv.client.manifests import manifest_kind, read_manifest
from lfv.client.masks import read_mask
from lfv.client.sources import SourceReader
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.errors import LfvError
from lfv.formats.evaluation import Evaluation, Evaluator
from lfv.formats.images import check_image
from lfv.formats.labels import LabelNames
from lfv.formats.manifest.groundtruth import INSPECTION
from lfv.formats.manifest.records import ManifestItem, ManifestKind
from lfv.formats.masks import MASK_LIMITS
from lfv.run.fit_records import fit_in
from lfv_store import Run, Store, StoredDetection

logger = logging.getLogger(__name__)


def evaluate_run(run: Run, store: Store, reader: SourceReader) -> Evaluation | None:
    """Return the figures of a run; None if none of its lines is labelled.

    Areas are compared if the manifest has masks and the model answered with areas. The manifest is
    read again, because only it says what a mask's colours mean. If it cannot be read or has
    changed, or a mask cannot be read, the figures of areas are left out.
    """
    reader = reader.with_fit(fit_in(run.parameters))
    evaluator = Evaluator()
    labelled = compared = 0
    false_alarms: list[StoredDetection] = []  # areas in normal images, which have no mask
    masks = _MaskedItems(run, reader)
    for stored in store.verdicts.candidates(run.run_id, labelled=True):
        labelled += 1
        result = DetectAnomalyResult.from_response(stored.response)
        evaluator.add(bool(stored.expected_is_anomalous), result)
        if not stored.expected_is_anomalous:
            if stored.has_mask and result.defects:
                false_alarms.append(stored)
        elif stored.expected_mask_ref is not None and result.is_segmentation:
            item = masks.of(stored)
            if item is not None:
                compared += _add_mask(evaluator, stored, item, store, reader)
    if compared:
        for stored in false_alarms:
            _add_mask(evaluator, stored, None, store, reader)
    return evaluator.result() if labelled else None


def _add_mask(
    evaluator: Evaluator,
    stored: StoredDetection,
    item: ManifestItem | None,
    store: Store,
    reader: SourceReader,
) -> bool:
    """Compare the areas of an image (normal if `item` is None); return whether it was possible."""
    answer_png = store.results.mask(stored.detection_id) if stored.has_mask else None
    if stored.has_mask and answer_png is None:
        return False  # `lfv prune --masks` has deleted it
    result = DetectAnomalyResult.from_response(stored.response, mask=answer_png)
    try:
        truth_png = read_mask(item, reader).png if item is not None else None
        size = check_image(answer_png or truth_png or b"", MASK_LIMITS)
        colors = item.mask_colors if item is not None else {}
        evaluator.add_mask(truth_png, colors, result, (size.width, size.height))
    except LfvError as error:
        logger.warning("the areas of line %d are not compared: %s", stored.line_number, error)
        return False
    return True


class _MaskedItems:
    """The manifest's lines with masks, by the references to image and mask.

    Not by line number: a later listing of a folder counts other files, too.
    """

    def __init__(self, run: Run, reader: SourceReader) -> None:
        self._run = run
        self._reader = reader

    def of(self, stored: StoredDetection) -> ManifestItem | None:
        """Return the line of an inspection; None if it has changed or cannot be read."""
        return self._items.get((stored.source_ref, stored.expected_mask_ref))

    @cached_property
    def _items(self) -> dict[tuple[str, str | None], ManifestItem]:
        run, digest = self._run, hashlib.sha256()
        given = run.parameters.get("normal") or (), run.parameters.get("anomaly") or ()
        profile = replace(INSPECTION, names=LabelNames.of(*given))
        try:
            kind = manifest_kind(run.source, self._reader)
            lines = read_manifest(
                run.source, self._reader, kind=kind, profile=profile, digest=digest
            )
            found: dict[tuple[str, str | None], ManifestItem] = {
                (line.source_ref, line.mask_ref): line
                for line in lines
                if isinstance(line, ManifestItem) and line.mask_ref is not None
            }
        except LfvError as error:
            logger.warning("no areas are compared, %s cannot be read: %s", run.source, error)
            return {}
        is_listing = kind in (ManifestKind.FOLDER, ManifestKind.PREFIX)
        if not is_listing and digest.hexdigest() != run.manifest_sha256:
            logger.warning("no areas are compared: %s has changed since the run", run.source)
            return {}
        return found
