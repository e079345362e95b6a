"""Answers, reasons, figures and datasets as short texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lfv.formats.words import count_of

if TYPE_CHECKING:
    from lfv.client.staging import StagedDataset


def answer(is_anomalous: bool | None, confidence: float | None) -> str:
    """Return the model's answer, or an empty string if there is none."""
    if is_anomalous is None or confidence is None:
        return ""
    return f"{'anomaly' if is_anomalous else 'normal'} {confidence:.3f}"


def reasons_text(reasons: Iterable[Mapping[str, Any]]) -> str:
    """Return the reasons of a verdict."""
    return " ".join(str(reason.get("text") or reason.get("rule", "")) for reason in reasons)


def measure(value: float | None) -> str:
    """Format a figure of a model, or an empty string if there is none."""
    return "" if value is None else f"{value:.3f}"


def figures_text(figures: Mapping[str, float | None]) -> str:
    """Return the figures that are defined, each after its name."""
    return ", ".join(
        f"{name} {measure(value)}" for name, value in figures.items() if value is not None
    )


def dataset_text(data: StagedDataset) -> str:
    """Describe the images of a dataset."""
    kinds = f" ({', '.join(data.anomaly_types)})" if data.anomaly_types else ""
    return (
        f"{count_of(data.images, 'image')} of {data.width}x{data.height}: "
        f"{data.normal} normal, {data.anomalous} anomalous, {data.masks} with a mask{kinds}"
    )
