"""A few hundred requests of the fuzzer; ``make fuzz`` sends thousands to the real engine."""

from __future__ import annotations

from collections.abc import Callable

from tests.server.test_hosting import workers
from tests.support.fuzzing import fuzz, resources
from tests.support.service import Service, detect, host, make_model, png

REQUESTS = 600


def test_fuzz(start: Callable[..., Service]) -> None:
    service = start(limits={"inference_units": 3})
    client = service.client()
    make_model(client, service, "hosted", masks=True)
    make_model(client, service, "other")
    host(client, "hosted")
    before = workers(service)
    assert service.process is not None
    tally = fuzz(service, REQUESTS, hosted="hosted", size=(64, 64), projects=["other"])
    assert tally.requests >= REQUESTS * 0.9  # Hypothesis may stop early when it has seen all
    assert tally.statuses[200] + tally.statuses[202] >= 10
    assert len(tally.operations) > 15
    assert detect(client, "hosted", png())["IsAnomalous"] is False
    assert set(before) <= set(workers(service))
    assert resources(service.process.pid)["files"] < 100
    assert "Traceback" not in service.log
