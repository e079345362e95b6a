"""How right a run was, where its manifest knew the truth."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from lfv.client.manifests import read_manifest
from lfv.client.sources import SourceReader
from lfv.formats.answers import DetectAnomalyResult
from lfv.formats.errors import LfvError
from lfv.formats.evaluation import Evaluation, Evaluator
from lfv.formats.images import check_image
from lfv.formats.manifest.records import ManifestItem
from lfv.formats.masks import MASK_LIMITS
from lfv_store import Run, Store, StoredDetection

logger = logging.getLogger(__name__)


def evaluate_run(run: Run, store: Store, reader: SourceReader) -> Evaluation | None:
    """The figures of a run; None when none of its lines is labelled.

    Areas are compared where a line names a mask and the model answered with areas.  What a mask's
    colours mean stands in the manifest only, so that is read again; where it is not to be had any
    more, or a mask is not, the figures of the images come without those of the areas.
    """
    evaluator = Evaluator()
    labelled = 0
    masks = _MaskedItems(run.source, reader)
    for stored in store.verdicts.candidates(run.run_id):
        if stored.expected_is_anomalous is None:
            continue
        labelled += 1
        result = DetectAnomalyResult.from_response(stored.response)
        evaluator.add(stored.expected_is_anomalous, result)
        if stored.expected_mask_ref is not None and result.is_segmentation:
            item = masks.at(stored.line_number)
            if item is not None:
                _add_mask(evaluator, stored, item, store, reader)
    return evaluator.result() if labelled else None


def _add_mask(
    evaluator: Evaluator,
    stored: StoredDetection,
    item: ManifestItem,
    store: Store,
    reader: SourceReader,
) -> None:
    answer_png = store.results.mask(stored.detection_id) if stored.has_mask else None
    result = DetectAnomalyResult.from_response(stored.response, mask=answer_png)
    try:
        truth_png = reader.read_bytes(item.mask_ref or "")
        size = check_image(answer_png or truth_png, MASK_LIMITS)
        evaluator.add_mask(truth_png, item.mask_colors, result, (size.width, size.height))
    except LfvError as error:
        logger.warning("the areas of line %d are not compared: %s", stored.line_number, error)


class _MaskedItems:
    """The manifest's lines with masks, by line numbers that only grow."""

    def __init__(self, source: str, reader: SourceReader) -> None:
        self._lines = self._read(source, reader)
        self._item: ManifestItem | None = None

    def at(self, line_number: int) -> ManifestItem | None:
        """The item of a line; None when the manifest has no mask there, or cannot be read."""
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
