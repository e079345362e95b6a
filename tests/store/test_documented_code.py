"""The Python in the store's documentation does what the text says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lfv_store import Store, open_store
from lfv_store.dialects.sqlite import PRAGMAS
from tests.support.documented_sql import DOCS
from tests.support.store_samples import a_run
from tests.support.tampering import fill


def blocks(page: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.+?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_example_of_the_store_lists_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_store("sqlite:///inspections.db") as store:
        run_id = a_run(store)
    (example,) = blocks("store.md")
    exec(compile(example, "store.md", "exec"), {})  # noqa: S102
    assert capsys.readouterr().out.startswith(f"{run_id} running RunCounts(total=0")


def test_the_example_of_the_audit_log_gives_its_hashes(store: Store) -> None:
    fill(store)
    (example,) = blocks("audit.md")
    defined: dict[str, Any] = {}
    exec(compile(example, "audit.md", "exec"), defined)  # noqa: S102
    for entry in store.audit.entries():
        fields = (
            entry.seq,
            entry.change,
            entry.at,
            entry.actor,
            entry.action,
            entry.subject,
            entry.content,
            entry.previous,
        )
        assert defined["entry_hash"](*fields) == entry.hash


def test_every_pragma_is_explained() -> None:
    text = (DOCS / "store.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `(\w+ = [\w-]+)` \|", text, re.MULTILINE)
    assert [f"PRAGMA {setting}" for setting in explained] == list(PRAGMAS)


def test_every_table_is_described() -> None:
    from lfv_store.tables import Base

    text = (DOCS / "store.md").read_text(encoding="utf-8")
    for table in Base.metadata.tables:
        assert f"`{table}`" in text, table
