"""What the path of a file in a data set says: split, label, anomaly type, mask, or no part at all.

Known are the layouts of MVTec AD (`train/good`, `test/<defect>`, `ground_truth/<defect>`), which
most public sets share, of VisA (`Images/Anomaly`, `Masks/Anomaly`), BeanTech (`ok`, `ko`) and
KolektorSDD2 (`10301_GT.png` beside its image), and plain folders of classes. Paths are relative,
with slashes.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lfv.formats.labels import USUAL, LabelNames, plain

SPLIT = "split"
ANOMALY_TYPE = "anomaly-type"
TRAIN, VALIDATION, TEST = "train", "validation", "test"
_SPLITS = {
    "train": TRAIN,
    "training": TRAIN,
    "trainset": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
    "testing": TEST,
    "testset": TEST,
    "eval": TEST,
}
_SPLIT_ATTRIBUTES = frozenset({"split", "subset", "partition", "usage", "set", "phase"})
_MASK_FOLDERS = frozenset({"groundtruth", "gt", "mask", "masks", "maskimages", "groundtruths"})
_NEUTRAL = frozenset({"image", "images", "img", "imgs", "pictures"})
_MASK_ENDING = re.compile(r"[_\-. ](mask|gt|groundtruth|label|seg)$", re.IGNORECASE)
_UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".download")
_BACKUPS = (".swp", ".bak", ".orig", "~")
_SYSTEM_FOLDERS = frozenset({"@eadir", "__macosx", "#recycle", "#snapshot", "lost+found"}) | {
    "$recycle.bin",
    "system volume information",
}

Key = tuple[str, ...]


def split_of(attributes: Mapping[str, object]) -> str | None:
    """TRAIN, VALIDATION or TEST, where an attribute such as split or usage says so."""
    for name, value in attributes.items():
        if plain(name) in _SPLIT_ATTRIBUTES and isinstance(value, str):
            found = _SPLITS.get(plain(value))
            if found is not None:
                return found
    return None


def why_no_part(relative: str) -> str | None:
    """Why another program's file is not a part to inspect, as a plural noun; None for a part."""
    *folders, name = relative.split("/")
    if not name or name.endswith("_$folder$"):
        return "folder markers"
    if any(folder.casefold() in _SYSTEM_FOLDERS for folder in folders):
        return "system files"
    if any(part.startswith(".") for part in (*folders, name)):
        return "hidden files"
    lower = name.casefold()
    if lower.endswith(_UNFINISHED):
        return "unfinished or temporary files"
    if lower.endswith(_BACKUPS) or lower.startswith("~$"):
        return "backup files"
    return None


@dataclass
class Skipped:
    """Files of a source that are not inspected, counted by the reason."""

    reasons: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """A sentence; empty when nothing was skipped."""
        return f"Skipped files: {counted(self.reasons)}." if self.reasons else ""


def counted(reasons: Mapping[str, int]) -> str:
    """Numbers of files by reason, for people: '3 (masks: 2, hidden files: 1)'; empty for none."""
    if not reasons:
        return ""
    most_first = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = ", ".join(f"{reason}: {count:,}" for reason, count in most_first)
    return f"{sum(reasons.values()):,} ({shown})"


@dataclass(frozen=True)
class Place:
    """What a path says; `mask` is the mask's path. `found` is the folder that gave no label."""

    is_anomalous: bool | None = None
    anomaly_type: str | None = None
    split: str | None = None
    mask: str | None = None
    found: str | None = None

    @property
    def mask_colors(self) -> dict[str, str]:
        """Masks of these sets are white on black."""
        return {"#000000": "BACKGROUND", "#FFFFFF": self.anomaly_type or "defect"}

    @property
    def attributes(self) -> dict[str, str]:
        """For the item: its split and anomaly type."""
        named = {SPLIT: self.split, ANOMALY_TYPE: self.anomaly_type}
        return {name: value for name, value in named.items() if value is not None}


class Layout:
    """Learns from all paths (`add`), then places each of them (`place`).

    `implied_split` is that of the folder itself, when it is the `test` of a data set.
    """

    def __init__(self, names: LabelNames = USUAL, implied_split: str | None = None) -> None:
        self._names = names
        self._implied_split = implied_split
        self._masks: dict[Key, str] = {}
        self._stacks: defaultdict[Key, list[str]] = defaultdict(list)
        self._beside: set[str] = set()
        self._has_normal = False
        self._last: tuple[str, str] = ("", "")

    def add(self, relative: str, written: str | None = None) -> None:
        """A file's path; in sorted order. `written` is how a mask is opened, if otherwise."""
        folder, _, name = relative.rpartition("/")
        folders = folder.split("/") if folder else []
        stem = name.rpartition(".")[0] or name
        base = _MASK_ENDING.sub("", stem)
        if _in_mask_folder(folders):
            self._masks.setdefault(_key(folders, base), written or relative)
            if folders:
                self._stacks[_key(folders[:-1], folders[-1])].append(written or relative)
            return
        if base != stem and self._last == (folder, base):
            self._beside.add(relative)
            self._masks.setdefault(_key(folders, base), relative)
            return
        self._last = (folder, stem)
        if not self._has_normal:
            self._has_normal = self._label(folders)[0] is False

    def is_mask(self, relative: str) -> bool:
        """Whether the file is a mask and not a part."""
        return relative in self._beside or _in_mask_folder(relative.split("/")[:-1])

    def place(self, relative: str) -> Place:
        """What the path of an image says."""
        *folders, name = relative.split("/")
        split = next((_SPLITS[plain(f)] for f in reversed(folders) if plain(f) in _SPLITS), None)
        stem = name.rpartition(".")[0] or name
        key = _key(folders, stem)
        mask = self._masks.get(key)
        if mask is None and len(self._stacks.get(key, ())) == 1:
            mask = self._stacks[key][0]
        label, kind = self._label(folders)
        if label is None:
            kind = _inner_folder(folders)
            in_test = (split or self._implied_split) in (TEST, VALIDATION)
            if kind is not None and (mask is not None or (in_test and self._has_normal)):
                label = True
            else:
                return Place(None, None, split, None, kind)
        if not label:
            return Place(False, None, split)
        return Place(True, kind, split, mask)

    def _label(self, folders: Sequence[str]) -> tuple[bool | None, str | None]:
        """That of the nearest folder with one, and the anomaly type that a folder names."""
        inner = None
        for folder in reversed(folders):
            label = self._names.of_folder(folder)
            if label is not None:
                if label and inner is None and self._names.given(folder):
                    inner = folder
                return label, inner if label else None
            if inner is None and plain(folder) not in _SPLITS and plain(folder) not in _NEUTRAL:
                inner = folder
        return None, None


def _in_mask_folder(folders: Sequence[str]) -> bool:
    return any(plain(folder) in _MASK_FOLDERS for folder in folders)


def _inner_folder(folders: Sequence[str]) -> str | None:
    """The innermost folder that is neither a split nor a neutral name."""
    for folder in reversed(folders):
        if plain(folder) not in _SPLITS and plain(folder) not in _NEUTRAL:
            return folder
    return None


def _key(folders: Sequence[str], stem: str) -> Key:
    """What an image and its mask have in common."""
    kept = (plain(folder) for folder in folders)
    named = [
        folder
        for folder in kept
        if folder not in _SPLITS and folder not in _NEUTRAL and folder not in _MASK_FOLDERS
    ]
    return (*named, stem.casefold())
