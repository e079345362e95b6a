"""Words that people use for normal and anomalous images, in folder names and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_SEPARATORS = re.compile(r"[\W_]+")
#: As in good_parts and NG-images.
_NOUN = re.compile(r"(images?|imgs?|parts?|samples?|products?|pictures?|pieces?|items?|class)$")
_NORMAL = frozenset(
    {"normal", "good", "ok", "okay", "okfront", "pass", "passed", "nondefective", "defectfree"}
    | {"nodefect", "nodefects", "nodefectimages", "nonanomalous", "accept", "accepted"}
    | {"io", "inordnung"}
)
_ANOMALY = frozenset(
    {"anomaly", "anomalous", "anomalies", "abnormal", "bad", "nok", "notok", "notgood", "ng", "ko"}
    | {"fail", "failed", "failure", "defect", "defects", "defective", "defectimages", "deffront"}
    | {"reject", "rejected", "rejects", "faulty", "scrap", "nogood", "nonconforming"}
    | {"nio", "nichtinordnung"}
)
_CELLS = {"false": False, "true": True, "no": False, "yes": True}
# By their exact text: -1 is not 1.
_NUMBERS = {"0": False, "0.0": False, "1": True, "1.0": True}


def plain(name: str) -> str:
    """A name without case and separators: 'Not OK' and 'not_ok' are 'notok'."""
    return _SEPARATORS.sub("", name).casefold()


@dataclass(frozen=True)
class LabelNames:
    """Names beside the usual words; a name given here counts before them."""

    normal: frozenset[str] = frozenset()
    anomaly: frozenset[str] = frozenset()

    @classmethod
    def of(cls, normal: Iterable[str] = (), anomaly: Iterable[str] = ()) -> LabelNames:
        """Raises ValueError for a name that is to be both."""
        names = cls(frozenset(map(plain, normal)), frozenset(map(plain, anomaly)))
        if both := names.normal & names.anomaly:
            raise ValueError(f"{', '.join(sorted(both))} cannot be normal and anomalous")
        return names

    def given(self, name: str) -> bool | None:
        """Whether a given name means an anomaly; None for any other."""
        found = plain(name)
        if found in self.normal:
            return False
        return True if found in self.anomaly else None

    def of_folder(self, name: str) -> bool | None:
        """Whether a folder's name means an anomaly; None for no label."""
        given = self.given(name)
        if given is not None:
            return given
        word = plain(name)
        for found in (word, _NOUN.sub("", word)):
            if found in _NORMAL:
                return False
            if found in _ANOMALY:
                return True
        return None

    def of_cell(self, text: str) -> bool | None:
        """Whether the label column of a table means an anomaly; None for no label."""
        found = self.of_folder(text)
        if found is not None:
            return found
        return _NUMBERS.get(text.strip(), _CELLS.get(plain(text)))


USUAL = LabelNames()
