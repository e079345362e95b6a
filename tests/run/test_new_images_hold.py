"""The hold that a run on new images keeps on its objects."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

from lfv.run.active import ActiveRun
from lfv.run.new_images import keep_claims
from tests.support.waiting import PLENTY


class SlowWatermarks:
    """Records in which order a renewal and the release take effect."""

    def __init__(self) -> None:
        self.renewing = threading.Event()
        self._released = threading.Event()
        self.effects: list[str] = []

    def begin(self, *_: object) -> int:
        return 1

    def renew(self, *_: object) -> None:
        if self.renewing.is_set():
            return
        self.renewing.set()
        self._released.wait(0.5)  # as long as the database is busy, or until the fault shows
        self.effects.append("renewed")

    def release(self, *_: object) -> None:
        self._released.set()
        self.effects.append("released")


def test_a_renewal_under_way_does_not_outlast_the_release() -> None:
    marks = SlowWatermarks()
    store = SimpleNamespace(
        watermarks=marks, with_patience=lambda _: SimpleNamespace(watermarks=marks)
    )
    run = SimpleNamespace(
        context=SimpleNamespace(request=SimpleNamespace(new_only=True)),
        settings=SimpleNamespace(lease_ttl_seconds=60, lease_heartbeat_seconds=0.01),
        store=store,
        run_id="a",
    )
    with keep_claims(cast(ActiveRun, cast(Any, run))):
        assert marks.renewing.wait(PLENTY)
    assert marks.effects == ["renewed", "released"]
