"""Reads data sets annotated in other formats (COCO, Pascal VOC, YOLO)."""

from lfv.formats.annotations.areas import AnnotatedImage, Area, draw_mask, mask_colors
from lfv.formats.annotations.coco import parse_coco
from lfv.formats.annotations.voc import parse_voc
from lfv.formats.annotations.yolo import parse_classes, parse_yolo

__all__ = [
    "AnnotatedImage",
    "Area",
    "draw_mask",
    "mask_colors",
    "parse_classes",
    "parse_coco",
    "parse_voc",
    "parse_yolo",
]
