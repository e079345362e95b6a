"""Imports datasets and models of other tools and services as a project of the service.

Annotations of COCO, VOC and YOLO become a manifest and masks in the folder `imports` of the home
folder, where they can be inspected and corrected. From there on all sources are treated as in a
training.
"""

from __future__ import annotations

import logging
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lfv.client.imports import (
    ImportKind,
    convert_annotations,
    import_kind,
    read_model_archive,
)
from lfv.client.sources import SourceReader
from lfv.client.staging import LabelledData, StagedDataset, Staging, stage_dataset, stage_training
from lfv.client.training import TrainedModel, check_names, import_datasets
from lfv.formats.host_kinds import LOOKOUTVISION
from lfv.formats.labels import LabelNames
from lfv.onnx_files import find_onnx_file, read_export_facts
from lfv.run.active import open_reader
from lfv.run.errors import NotImportable
from lfv.run.models.training import staging_place, train_project, training_client
from lfv.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportRequest:
    """What to import, and how.

    Attributes:
        source: A manifest, a folder, annotations, or a model; see `ImportKind`.
        project: Name of the project, which may exist.
        test: Test images, of any kind but a model.
        data: Labelled images to calibrate a model with.
        images: Folder of the images that annotations refer to.
        boxes: Whether bounding boxes count as areas where there are no outlines.
        train: Whether to train a model version immediately.
        normal: Further names of labels that mean normal.
        anomaly: Further names of labels that mean an anomaly.
    """

    source: str
    project: str
    test: str | None = None
    data: str | None = None
    images: str | None = None
    boxes: bool = False
    train: bool = False
    normal: tuple[str, ...] = ()
    anomaly: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImportResult:
    """The outcome of an import; `facts` are a model's metadata, `next_step` is a command."""

    kind: ImportKind
    project: str
    train: StagedDataset | None = None
    test: StagedDataset | None = None
    model: TrainedModel | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    next_step: str = ""


def import_project(
    settings: Settings,
    request: ImportRequest,
    *,
    trained_by: str = "",
    progress: Callable[[str], None] = logger.info,
) -> ImportResult:
    """Import what the request names.

    Raises:
        NotImportable: The source cannot be imported in this way; the message names the next step.
        LfvSettingsError: The settings name an unsuitable host or endpoint.
        lfv.formats.errors.LfvError: The data cannot be read, or the service refuses it.
    """
    if settings.host != LOOKOUTVISION:
        raise NotImportable(
            f"imports need a Lookout for Vision service, not the host {settings.host}; "
            "unset LFV_HOST"
        )
    check_names(request.project, "")
    with open_reader(settings) as reader:
        kind = import_kind(request.source, reader)
        progress(f"{request.source}: {kind}")
        importer = _Importer(settings, request, reader, trained_by, progress)
        return importer.model(kind) if kind.is_model else importer.images(kind)


@dataclass(frozen=True)
class _Importer:
    settings: Settings
    request: ImportRequest
    reader: SourceReader
    trained_by: str
    progress: Callable[[str], None]

    def images(self, kind: ImportKind) -> ImportResult:
        """Import labelled images of any kind."""
        request = self.request
        names = _names(request)
        source = self._write_manifest(request.source, kind, "train", names)
        test = self._write_test_manifest(names)
        if request.train:
            if kind is ImportKind.EVALUATION and test is None:
                raise NotImportable(
                    "an evaluation manifest holds test images; give the training images as SOURCE "
                    "and this with --test"
                )
            model = self._train(self.settings, source, test)
            return ImportResult(kind, request.project, model.train, model.test, model)
        return self._datasets(kind, source, test, names)

    def model(self, kind: ImportKind) -> ImportResult:
        """Import a model of another tool, with the images to calibrate it on."""
        request = self.request
        if request.test is not None and request.data is None:
            raise NotImportable(
                "--test needs --data, the images to calibrate or train the model with"
            )
        settings = self.settings
        facts: dict[str, Any]
        if kind is ImportKind.ONNX_MODEL:
            settings, facts = self._detector()
        else:
            facts = self._archive_facts()
        if request.data is None:
            source = shlex.quote(request.source)
            again = f"lfv import {source} --project {request.project} --data IMAGES"
            return ImportResult(kind, request.project, facts=facts, next_step=again)
        names = _names(request)
        data = self._write_manifest(
            request.data, import_kind(request.data, self.reader), "train", names
        )
        model = self._train(settings, data, self._write_test_manifest(names))
        return ImportResult(kind, request.project, model.train, model.test, model, facts)

    def _detector(self) -> tuple[Settings, dict[str, Any]]:
        """Return settings with which a training calibrates the ONNX model."""
        if self.settings.endpoint_url is not None:
            raise NotImportable(
                "an ONNX model is calibrated by the service on this machine; for the one at "
                f"{self.settings.endpoint_url}, give it to its `lfv serve --detector`"
            )
        try:
            file = find_onnx_file(Path(self.request.source))
        except ValueError as error:
            raise NotImportable(str(error)) from None
        facts = {"file": str(file), **read_export_facts(file)}
        return self.settings.model_copy(update={"detector": Path(self.request.source)}), facts

    def _archive_facts(self) -> dict[str, Any]:
        found = read_model_archive(self.request.source, self.reader)
        return {
            "type": found.model_type or None,
            "threshold": found.threshold,
            "image size": f"{found.width}x{found.height}" if found.width else None,
            "classes": ", ".join(found.classes) or None,
            "normal": ", ".join(found.normal) or None,
            "stages": ", ".join(found.stages) or None,
            "bytes": sum(found.files.values()),
            "note": "its network is TorchScript, which is not run here: a model is trained on the "
            "same images instead",
        }

    def _datasets(
        self, kind: ImportKind, source: str, test: str | None, names: LabelNames
    ) -> ImportResult:
        settings, request = self.settings, self.request
        staging = staging_place(settings)
        train_data: StagedDataset | None
        test_data: StagedDataset | None
        if kind is ImportKind.EVALUATION and test is None:
            train_data, test_data = None, self._stage_test(source, staging, names)
        else:
            train_data, test_data = stage_training(
                source,
                self.reader,
                staging,
                names=names,
                progress=self.progress,
                needs_labels=False,
            )
            if test is not None:
                test_data = self._stage_test(test, staging, names)
        with training_client(settings) as client:
            import_datasets(
                client,
                request.project,
                train_data,
                test_data,
                timeout=settings.training_deadline_seconds,
                progress=self.progress,
            )
        return ImportResult(
            kind,
            request.project,
            train_data,
            test_data,
            next_step=_train_command(request.project, train_data, test_data),
        )

    def _stage_test(self, source: str, staging: Staging, names: LabelNames) -> StagedDataset:
        return stage_dataset(
            source,
            self.reader,
            staging,
            names=names,
            progress=self.progress,
            needs_labels=False,
        )

    def _train(self, settings: Settings, source: str, test: str | None) -> TrainedModel:
        request = self.request
        return train_project(
            settings,
            LabelledData(source, test, request.normal, request.anomaly, needs_labels=False),
            request.project,
            trained_by=self.trained_by,
            progress=self.progress,
        )

    def _write_manifest(self, source: str, kind: ImportKind, use: str, names: LabelNames) -> str:
        """Convert `source` to something that the manifest reader accepts."""
        if kind.is_model:
            raise NotImportable(f"{source} is a model; images are expected there")
        if kind not in {ImportKind.COCO, ImportKind.VOC, ImportKind.YOLO}:
            return source
        request = self.request
        manifest = convert_annotations(
            source,
            kind,
            self.reader,
            self.settings.home / "imports" / request.project / use,
            images=request.images,
            names=names,
            boxes=request.boxes,
        )
        self.progress(f"wrote {manifest}")
        return str(manifest)

    def _write_test_manifest(self, names: LabelNames) -> str | None:
        source = self.request.test
        if source is None:
            return None
        return self._write_manifest(source, import_kind(source, self.reader), "test", names)


def _names(request: ImportRequest) -> LabelNames:
    try:
        return LabelNames.of(request.normal, request.anomaly)
    except ValueError as error:
        raise NotImportable(f"names of labels contradict each other: {error}") from None


def _train_command(project: str, train: StagedDataset | None, test: StagedDataset | None) -> str:
    if train is None:
        return f"lfv import TRAINING-IMAGES --project {project}"
    tested = f" --test {test.manifest}" if test is not None else ""
    return f"lfv train {train.manifest}{tested} --project {project}"
