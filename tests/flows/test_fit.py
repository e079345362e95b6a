"""A model that was trained with --fit inspects images of other sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.inspect_images import inspect_images
from lfv.run.errors import NothingInspected
from lfv_store import NewTraining, Store
from tests.support.endpoints import Endpoint
from tests.support.pictures import make_pictures
from tests.support.store_samples import T0


@pytest.mark.parametrize("fit", [None, "scaled to 64x64"])
def test_images_of_other_sizes_are_fitted_as_in_training_and_recorded(
    fit: str | None, images: Path, tmp_path: Path, endpoint: Endpoint, store: Store
) -> None:
    first = inspect_images(source=str(images), project="parts")
    model_id = store.runs.get(first.run_id).model_id
    assert model_id is not None
    store.trainings.record(
        NewTraining(
            model_id=model_id,
            source="parts.manifest",
            manifest_sha256="0" * 64,
            images={"train": {"images": 12, "width": 64, "height": 64, "fit": fit}},
            figures={},
            trained_at=T0,
            code_version="0",
        )
    )
    make_pictures(tmp_path / "larger", 3, size=96)
    if fit is None:
        with pytest.raises(NothingInspected, match="96x96 pixels; the model was trained on 64x64"):
            inspect_images(source=str(tmp_path / "larger"), project="parts")
        return
    summary = inspect_images(source=str(tmp_path / "larger"), project="parts")
    assert store.runs.get(summary.run_id).parameters["fit"] == fit
    rows = list(store.results.rows(summary.run_id))
    assert (summary.counts.errors, summary.counts.inspected) == (0, 3)
    assert {row["attributes"]["converted-from"] for row in rows} == {f"PNG of 96x96, {fit}"}
    assert sum(endpoint.asked().values()) == 15
