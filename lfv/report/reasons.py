"""The reasons of verdicts as people read them."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Reasons that policies store, and the sentences with the same numbers on pages.
_SENTENCES = (
    (
        r"Anomalous with confidence (\S+)%(?: only)?, (?:at least|below) (\S+)%\.",
        r"The model is \1% sure of an anomaly{types}; the limit is \2%.",
    ),
    (
        r"Anomalous with confidence (\S+)%, not rejected, and at least (\S+)%\.",
        r"The model is \1% sure of an anomaly{types}; from \2% a person decides.",
    ),
    (
        r"Normal with confidence (\S+)% only, below (\S+)%\.",
        r"The model is \1% sure that the part is normal; below \2% a person decides.",
    ),
    (
        r"Normal with confidence (\S+)%\.",
        r"The model is \1% sure that the part is normal.",
    ),
)


def plain_sentence(reason: str, types: Sequence[str]) -> str:
    """Format a stored reason for pages; return one of an unknown form unchanged."""
    for form, sentence in _SENTENCES:
        found = re.fullmatch(form, reason)
        if found:
            reason = found.expand(sentence).replace(
                "{types}", f" ({', '.join(types[:3])})" if types else ""
            )
            break
    return re.sub(r"(?<=\d)%", " %", reason)
