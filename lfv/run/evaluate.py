"""Compares the answers of a run with the labels of its manifest."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from lfv.client.manifests import read_manifest
from lfv.client.masks import read_mask
from lfv.client.sources import SourceReader
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.errors import LfvError
from lfv.formats.evaluation import Evaluation, Evaluator
from lfv.formats.images import check_image
from lfv.formats.manifest.records import ManifestItem
from lfv.formats.masks import MASK_LIMITS
from lfv.run.fits import fit_in
from lfv_store import Run, Store, StoredDetection

logger = logging.getLogger(__name__)


def evaluate_run(run: Run, store: Store, reader: SourceReader) -> Evaluation | None:
    """Return the figures of a run; None if none of its lines is labelled.

    Areas are compared if the manifest has masks and the model answered with areas. The manifest is
    read again, because only it says what a mask's colours mean. If it or a mask cannot be read, the
    figures of areas are left out.
    """
    reader = reader.with_fit(fit_in(run.parameters))
    evaluator = Evaluator()
    labelled = compared = 0
    false_alarms: list[StoredDetection] = []  # areas in normal images, which have no mask
    masks = _MaskedItems(run.source, reader)
    for stored in store.verdicts.candidates(run.run_id):
        if stored.expected_is_anomalous is None:
            continue
        labelled += 1
        result = DetectAnomalyResult.from_response(stored.response)
        evaluator.add(stored.expected_is_anomalous, result)
        if not stored.expected_is_anomalous:
            if stored.has_mask and result.defects:
                false_alarms.append(stored)
        elif stored.expected_mask_ref is not None and result.is_segmentation:
            item = masks.at(stored.line_number)
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
    """Access to the manifest's lines with masks, in increasing line order."""

    def __init__(self, source: str, reader: SourceReader) -> None:
        self._lines = self._read(source, reader)
        self._item: ManifestItem | None = None

    def at(self, line_number: int) -> ManifestItem | None:
        """Return the item of a line; None if it has no mask or the manifest cannot be read."""
        while self._item is None or self._item.line_number < line_number:
            self._item = next(self._lines, None)
            if self._item is None:
                return None
        return self._item if self._item.line_number == line_number else None

    @staticmethod
    def _read(source: str, reader: SourceReader) -> Iterator[ManifestItem]:
        try:
            for line in read_manifest(source, reader):
                if isinstance(line, ManifestItem) and line.mask_ref is not None:
                    yield line
        except LfvError as error:
            logger.warning("no areas are compared, %s cannot be read: %s", source, error)
