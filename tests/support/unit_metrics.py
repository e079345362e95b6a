"""The inference units of a service: their metrics and processes."""

from __future__ import annotations

import urllib.request

from tests.support.processes import children_of
from tests.support.service import Service
from tests.support.waiting import PLENTY


def metrics(service: Service) -> dict[str, float]:
    """Samples by name and labels, such as ``ProcessedImageCount_total{...}``."""
    with urllib.request.urlopen(f"{service.url}/metrics", timeout=PLENTY) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (text.rsplit(" ", 1) for text in lines if not text.startswith("#"))
    return {name: float(value) for name, value in pairs}


def units(service: Service, project: str, what: str = "InService") -> float:
    return metric(service, project, f"{what}InferenceUnits")


def metric(service: Service, project: str, name: str) -> float:
    """The value of a sample of version 1 of a project's model; 0 when there is none."""
    found = metrics(service)
    labels = f'ModelVersion="1",ProjectName="{project}"'
    swapped = f'ProjectName="{project}",ModelVersion="1"'
    return found.get(f"{name}{{{labels}}}", found.get(f"{name}{{{swapped}}}", 0))


def workers(service: Service) -> list[int]:
    """Process ids of the service's inference units."""
    assert service.process is not None
    return workers_of(service.process.pid)


def workers_of(pid: int) -> list[int]:
    """Process ids of the inference units that a process has."""
    return [child.pid for child in children_of(pid) if "hosting.unit_process" in child.command]
