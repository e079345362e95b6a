"""Prometheus metrics with the names that the original service published to CloudWatch.

There the namespace was AWS/LookoutVision, with the dimensions ProjectName and ModelVersion.
Prometheus adds ``_total`` to counters. ``Time`` is in milliseconds, as in CloudWatch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lfv.server.errors import ApiError, InvalidImageError, ThrottledError
from lfv.server.hosting.pool import Pool

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LABELS = ("ProjectName", "ModelVersion")
_MILLISECONDS = (5, 10, 20, 30, 50, 75, 100, 150, 250, 500, 1000, 2500, 5000, 10_000)


class Metrics:
    def __init__(self, pools: Callable[[], Iterable[Pool]]) -> None:
        self._registry = CollectorRegistry()
        self.successful = self._counter("SuccessfulRequestCount", "Requests answered")
        self.errors = self._counter("ErrorCount", "Requests answered with an error")
        self.throttled = self._counter("ThrottledCount", "Requests refused for overload")
        self.processed = self._counter("ProcessedImageCount", "Images answered")
        self.anomalies = self._counter("DetectedAnomalyCount", "Images found anomalous")
        self.invalid = self._counter("InvalidImageCount", "Images that could not be inspected")
        self.time = Histogram(
            "Time",
            "Milliseconds from an image's arrival to its answer",
            _LABELS,
            buckets=_MILLISECONDS,
            registry=self._registry,
        )
        self._registry.register(_Units(pools))

    def _counter(self, name: str, what: str) -> Counter:
        return Counter(name, what, _LABELS, registry=self._registry)

    def count_request(self, model: tuple[str, str], error: ApiError | None) -> None:
        """Count a request. ``model`` is (project name, version), both empty if it has none."""
        if error is None:
            self.successful.labels(*model).inc()
            return
        self.errors.labels(*model).inc()
        if isinstance(error, ThrottledError):
            self.throttled.labels(*model).inc()
        if isinstance(error, InvalidImageError):
            self.invalid.labels(*model).inc()

    def count_image(
        self, model: tuple[str, str], *, is_anomalous: bool, milliseconds: float
    ) -> None:
        self.processed.labels(*model).inc()
        if is_anomalous:
            self.anomalies.labels(*model).inc()
        self.time.labels(*model).observe(milliseconds)

    def exposition(self) -> bytes:
        return generate_latest(self._registry)


class _Units(Collector):
    """Gauges of the hosted models, computed when they are read."""

    def __init__(self, pools: Callable[[], Iterable[Pool]]) -> None:
        self._pools = pools

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        pools = list(self._pools())
        readings: tuple[tuple[str, str, Callable[[Pool], int]], ...] = (
            ("MinInferenceUnits", "As given to StartModel", lambda pool: pool.model.min_units),
            ("MaxInferenceUnits", "As given to StartModel", lambda pool: pool.model.max_units),
            ("DesiredInferenceUnits", "Units wanted", lambda pool: pool.desired_units),
            ("InServiceInferenceUnits", "Units ready", lambda pool: pool.units),
        )
        for name, what, value in readings:
            gauge = GaugeMetricFamily(name, what, labels=_LABELS)
            for pool in pools:
                gauge.add_metric([pool.model.project_name, str(pool.model.version)], value(pool))
            yield gauge
