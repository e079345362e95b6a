"""Imports other tools' data sets and models, for training.

kinds.py            detects the kind of a source
annotations.py      converts COCO, VOC and YOLO to a manifest with drawn masks
archive.py          reads facts from a SageMaker model.tar.gz
"""

from lfv.client.imports.annotations import convert_annotations
from lfv.client.imports.archive import ModelFacts, read_model_archive
from lfv.client.imports.kinds import ImportKind, import_kind

__all__ = [
    "ImportKind",
    "ModelFacts",
    "convert_annotations",
    "import_kind",
    "read_model_archive",
]
