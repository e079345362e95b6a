"""The documented SQL: the auditor's queries, and the columns of the views."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
RUN_ID = "0b6f6a6e-8d1f-4f53-a9d4-6f0f5a1e5a10"
SERIAL = "SN-0000123"
LOT = "L-0007"
IMAGE_SHA256 = "6a9c5b5a1b5e2c0d6c0ad0b1d7b7c1f0a4d3f2e1908f7e6d5c4b3a2910fedcba"


def auditor_queries() -> list[tuple[str, str]]:
    """(question, SQL) of docs/auditor-queries.md, in order."""
    text = (DOCS / "auditor-queries.md").read_text(encoding="utf-8")
    return re.findall(r"^## (\d+\. .+?)$.*?^```sql\n(.+?);\n```", text, re.MULTILINE | re.DOTALL)


def documented_views() -> dict[str, list[str]]:
    """The columns of each view in docs/views.md, in order."""
    text = (DOCS / "views.md").read_text(encoding="utf-8")
    sections = re.split(r"^## `(\w+)`.*$", text, flags=re.MULTILINE)[1:]
    return {
        name: re.findall(r"^\| `(\w+)` \|", body, re.MULTILINE)
        for name, body in zip(sections[::2], sections[1::2], strict=True)
    }
