"""Which anomalies of an answer are types of anomaly: the rule of lfv/formats/answers.py, in SQL."""

from __future__ import annotations

_BACKGROUND_NAMES = "'background', 'normal'"


def is_anomaly_type(name: str) -> str:
    """Return the SQL condition that the column `name` names an anomaly type, not the background."""
    return f"lower(trim({name})) NOT IN ({_BACKGROUND_NAMES})"
