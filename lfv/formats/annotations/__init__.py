"""Annotated data sets of other tools (COCO, Pascal VOC), as labelled images with areas."""

from lfv.formats.annotations.areas import AnnotatedImage, Area, draw_mask, mask_colors
from lfv.formats.annotations.coco import parse_coco
from lfv.formats.annotations.voc import parse_voc

__all__ = ["AnnotatedImage", "Area", "draw_mask", "mask_colors", "parse_coco", "parse_voc"]
