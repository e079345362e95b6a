"""What other tools leave behind, as something that a model can be trained on.

kinds.py            what a source is
annotations.py      COCO, VOC and YOLO, as a manifest with drawn masks
archive.py          what can be read of a SageMaker model.tar.gz
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
