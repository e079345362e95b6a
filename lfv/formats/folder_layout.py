"""Reads split, label, anomaly type and masks from the paths of a data set's files.

Supported are the layouts of MVTec AD (`train/good`, `test/<defect>`, `ground_truth/<defect>`),
which most public sets share, VisA (`Images/Anomaly`, `Masks/Anomaly`), BeanTech (`ok`, `ko`),
KolektorSDD2 (`10301_GT.png` next to its image), DAGM (`Train/Label`), Real-IAD (a mask with its
image's name next to it), MVTec LOCO (a folder of masks for each image), and plain folders of
classes. Paths are relative, with slashes.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lfv.formats.labels import (
    TEST,
    TRAIN,
    USUAL,
    VALIDATION,
    LabelNames,
    plain,
    split_of_name,
)

SPLIT = "split"
ANOMALY_TYPE = "anomaly-type"
_SPLIT_ATTRIBUTES = frozenset({"split", "subset", "partition", "usage", "set", "phase"})
_TRAIN_FLAGS = frozenset({"istrain", "istraining", "fortraining"})
_TEST_FLAGS = frozenset({"istest", "istesting", "fortesting"})
_YES, _NO = frozenset({"1", "true", "yes"}), frozenset({"0", "false", "no"})
_MASK_FOLDERS = frozenset({"groundtruth", "gt", "mask", "masks", "maskimages", "groundtruths"})
# Files here are masks only by their names, because labels may be inspected parts, too.
_LABEL_FOLDERS = frozenset({"label", "labels", "annotation", "annotations", "segmentation"})
_JPEG = frozenset({"jpg", "jpeg", "jpe", "jfif"})
_NEUTRAL = frozenset({"image", "images", "img", "imgs", "pictures"})
_MASK_ENDING = re.compile(r"[_\-. ](mask|gt|groundtruth|label|seg)$", re.IGNORECASE)
_UNFINISHED = re.compile(
    r"\.(part|partial|filepart|tmp|temp|crdownload|opdownload|download|incomplete|inprogress|"
    r"!qb|!ut|aria2|sb-[0-9a-f]+-\w+)$|\.(tmp|temp)\.\w{2,4}$"
)
_BACKUPS = (".swp", ".bak", ".old", ".orig", ".backup", "~")
_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "icon\r", "_success", "license", "readme"})
_SYSTEM_FOLDERS = frozenset({"@eadir", "__macosx", "#recycle", "#snapshot", "lost+found"}) | {
    "$recycle.bin",
    "recycler",
    "system volume information",
    "network trash folder",
    "temporary items",
    "@recycle",
    "@tmp",
    "@sharebin",
    "@recently-snapshot",
    "~snapshot",
    "thumbs",
    "thumbnails",
    "_thumbnails",
}

Key = tuple[str | None, ...]


def split_of(attributes: Mapping[str, object]) -> str | None:
    """Return TRAIN, VALIDATION or TEST from an attribute such as split, usage or is-test."""
    for name, value in attributes.items():
        known = plain(name)
        if known in _SPLIT_ATTRIBUTES and isinstance(value, str):
            found = split_of_name(value)
            if found is not None:
                return found
        elif known in _TRAIN_FLAGS | _TEST_FLAGS:
            flag = str(value).strip().casefold()
            if flag in _YES | _NO:
                return TEST if (flag in _YES) == (known in _TEST_FLAGS) else TRAIN
    return None


def split_of_path(path: str) -> str | None:
    """Return TRAIN, VALIDATION or TEST from the folders in a path."""
    return _find_split(path.split("/")[:-1])


def why_no_part(relative: str) -> str | None:
    """Return why a file is not a part to inspect, as a plural noun; None if it is one."""
    *folders, name = relative.split("/")
    if not name or name.endswith("_$folder$"):
        return "folder markers"
    in_system_folder = any(folder.casefold() in _SYSTEM_FOLDERS for folder in folders)
    if in_system_folder or name.casefold() in _SYSTEM_FILES:
        return "system files"
    if any(part.startswith(".") for part in (*folders, name)):
        return "hidden files"
    lower = name.casefold()
    if _UNFINISHED.search(lower):
        return "unfinished or temporary files"
    if lower.endswith(_BACKUPS) or lower.startswith("~$"):
        return "backup files"
    return None


@dataclass
class Skipped:
    """Files of a source that are not inspected, counted by reason."""

    reasons: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """Return a sentence; empty if nothing was skipped."""
        return f"Skipped files: {describe_skipped(self.reasons)}." if self.reasons else ""


def describe_skipped(reasons: Mapping[str, int]) -> str:
    """Describe numbers of files by reason: '3 (masks: 2, hidden files: 1)'; empty for none."""
    if not reasons:
        return ""
    most_first = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = ", ".join(f"{reason}: {count:,}" for reason, count in most_first)
    return f"{sum(reasons.values()):,} ({shown})"


@dataclass(frozen=True)
class Place:
    """Facts from an image's path.

    `masks` are the paths of its masks, which decide the label unless `is_anomalous` is True.
    `found` is the name of a folder that is not known as a label.
    """

    is_anomalous: bool | None = None
    anomaly_type: str | None = None
    split: str | None = None
    masks: tuple[str, ...] = ()
    found: str | None = None

    @property
    def attributes(self) -> dict[str, str]:
        """Attributes of the item: its split and anomaly type, if known."""
        named = {SPLIT: self.split, ANOMALY_TYPE: self.anomaly_type}
        return {name: value for name, value in named.items() if value is not None}


class Layout:
    """Collects all paths of a data set (`add`), then interprets each of them (`place`).

    `implied_split` is the split named by the root folder, if that is the `test` of a data set.
    """

    def __init__(self, names: LabelNames = USUAL, implied_split: str | None = None) -> None:
        self._names = names
        self._implied_split = implied_split
        self._masks: dict[Key, str] = {}
        self._stacks: defaultdict[Key, list[str]] = defaultdict(list)
        self._adjacent_masks: set[str] = set()
        self._label_sets: set[Key] = set()
        self._has_normal = False
        self._last: tuple[str, str, str] = ("", "", "")

    def add(self, relative: str, written: str | None = None) -> bool:
        """Add a file. Paths must be added in sorted order.

        Args:
            relative: The file's path.
            written: The path by which a mask is opened, if not `relative`.

        Returns:
            Whether the file is a PNG next to a JPEG of the same name. If its pixels show that it is
            a mask, the caller passes it to `add_mask`.
        """
        folder, _, name = relative.rpartition("/")
        folders = folder.split("/") if folder else []
        stem, _, ending = name.rpartition(".") if "." in name else (name, "", "")
        base = _MASK_ENDING.sub("", stem)
        if _is_mask(folders, stem):
            self._masks.setdefault(_key(folders, base), written or relative)
            if folders:
                self._stacks[_key(folders[:-1], folders[-1])].append(written or relative)
                if plain(folders[-1]) in _LABEL_FOLDERS:
                    self._label_sets.add(_key(folders, ""))
            return False
        if base != stem and self._last[:2] == (folder, base):
            self._add_adjacent_mask(relative, _key(folders, base))
            return False
        is_twin = self._last[:2] == (folder, stem) and self._last[2] in _JPEG
        if is_twin and ending.casefold() == "png":
            return True
        self._last = (folder, stem, ending.casefold())
        if not self._has_normal:
            self._has_normal = self._label(folders)[0] is False
        return False

    def add_mask(self, relative: str) -> None:
        """Register a file as the mask of the image next to it that has the same name."""
        *folders, name = relative.split("/")
        self._add_adjacent_mask(relative, _key(folders, name.rpartition(".")[0]))

    def _add_adjacent_mask(self, relative: str, key: Key) -> None:
        self._adjacent_masks.add(relative)
        self._masks.setdefault(key, relative)

    def is_mask(self, relative: str) -> bool:
        """Whether a file is a mask, not a part."""
        *folders, name = relative.split("/")
        return relative in self._adjacent_masks or _is_mask(
            folders, name.rpartition(".")[0] or name
        )

    def place(self, relative: str) -> Place:
        """Interpret the path of an image."""
        *folders, name = relative.split("/")
        split = _find_split(folders)
        masks = self._masks_of(folders, name.rpartition(".")[0] or name)
        label, kind = self._label(folders)
        if label is not None:
            if label and not masks:  # one folder may hold the masks of all anomalies
                masks = self._masks_of(folders[:0], name.rpartition(".")[0] or name, split)
            return Place(label, kind if label else None, split, masks)
        kind = _class_folder(folders)
        in_test = (split or self._implied_split) in (TEST, VALIDATION)
        if kind is not None and in_test and self._has_normal:
            return Place(True, kind, split, masks)
        if not masks and _key(folders, "") in self._label_sets:
            return Place(False, None, split)  # in this folder, images with a defect have a mask
        # If masks lie next to images, their folder names a lot or a part, not an anomaly type.
        is_type = bool(masks) and not self._adjacent_masks.intersection(masks)
        return Place(None, kind if is_type else None, split, masks, kind)

    def _masks_of(
        self, folders: Sequence[str], stem: str, split: str | None = None
    ) -> tuple[str, ...]:
        own, *rest = _key(folders, stem)
        key = (own or split, *rest)
        for one in (key, (None, *key[1:])):  # masks of the same split first
            if one in self._masks:
                return (self._masks[one],)
            if one in self._stacks:
                return tuple(self._stacks[one])
        return ()

    def _label(self, folders: Sequence[str]) -> tuple[bool | None, str | None]:
        """Return the label of the nearest folder that has one, and the anomaly type, if named."""
        inner = None
        for folder in reversed(folders):
            label = self._names.of_folder(folder)
            if label is not None:
                if label and inner is None and self._names.given(folder):
                    inner = folder
                return label, inner if label else None
            if not _is_neutral(folder):
                inner = folder  # in the end, the folder directly below the label's
        return None, None


def _is_neutral(folder: str) -> bool:
    return split_of_name(folder) is not None or plain(folder) in _NEUTRAL


def _is_mask(folders: Sequence[str], stem: str) -> bool:
    above = {plain(folder) for folder in folders}
    return bool(above & _MASK_FOLDERS or (above & _LABEL_FOLDERS and _MASK_ENDING.search(stem)))


def _find_split(folders: Sequence[str]) -> str | None:
    return next(filter(None, map(split_of_name, reversed(folders))), None)


def _class_folder(folders: Sequence[str]) -> str | None:
    """Return the first folder below the split that names a class, or else the innermost."""
    splits = [at for at, folder in enumerate(folders) if split_of_name(folder) is not None]
    below = folders[splits[-1] + 1 :] if splits else ()
    return next((one for one in (*below, *reversed(folders)) if not _is_neutral(one)), None)


def _key(folders: Sequence[str], stem: str) -> Key:
    """Return what the paths of an image and its mask share: split, other folders, and name."""
    kept = [plain(folder) for folder in folders if not _is_neutral(folder)]
    named = [folder for folder in kept if folder not in _MASK_FOLDERS | _LABEL_FOLDERS]
    return (_find_split(folders), *named, stem.casefold())
