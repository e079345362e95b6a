"""The content of the pages of models."""

from __future__ import annotations

import re

import sqlalchemy as sa

from lfv.run.models.compare import compare_models
from lfv_store import ModelKey, NewReview
from lfv_store.tables import HostingTable
from tests.support.store_samples import LEASE
from tests.support.ui import RUN_ID, Browser, Scene


def test_a_model_that_is_not_hosted_is_not_stopped(place: Scene, mara: Browser) -> None:
    answer = mara.post(f"/models/{place.model_id}/stop")
    assert answer.status_code == 409
    assert "No hosting" in answer.json()["error"]


def test_a_model_that_is_up_can_be_stopped_after_hundreds_of_later_hostings(
    place: Scene, mara: Browser
) -> None:
    place.store.leases.acquire(place.model_id, RUN_ID, **LEASE)
    other = place.second_version({})
    with place.store.database.write() as conn:
        (mine,) = conn.execute(sa.select(HostingTable.__table__)).mappings()
        later = {"model_id": other, "status": "stopped", "stopped_at": mine["requested_at"]}
        conn.execute(
            sa.insert(HostingTable),
            [
                {**mine, **later, "id": mine["id"] + number, "client_token": f"later-{number}"}
                for number in range(1, 600)
            ],
        )
    assert f'action="/models/{place.model_id}/stop"' in mara.get(f"/models/{place.model_id}").text
    assert f'action="/models/{other}/stop"' not in mara.get(f"/models/{other}").text


def test_a_list_that_is_cut_says_so(place: Scene, mara: Browser) -> None:
    page = f"/models/{place.model_id}"
    while len(place.store.runs.list(21, model_id=place.model_id)) < 20:
        assert "the newest 20" not in mara.get(page).text
        place.again()
    assert "the newest 20" in mara.get(page).text
    part = place.parts("reject")[0]
    digest = place.store.results.get(part)["image_sha256"]
    assert "Other inspections of the same image</h2>" in mara.get(f"/parts/{part}").text
    while len(place.store.part_search.of_image(digest)) < 50:
        place.again()
    assert "the newest" in mara.get(f"/parts/{part}").text


def test_models_beyond_one_page_are_on_the_next(place: Scene, mara: Browser) -> None:
    host = place.store.models.get(place.model_id).key.host
    for number in range(2, 204):
        place.store.models.register(ModelKey(host, f"arn:{number}", "others", str(number)))
    oldest = f'href="/models/{place.model_id}"'
    newest = mara.get("/models").text
    assert oldest not in newest
    (older,) = re.findall(r'href="(/models\?before=\d+)"', newest)
    second = mara.get(older).text
    assert oldest in second
    assert "Older models" not in second
    assert 'href="/models"' in second
    assert "There are no older models" in mara.get("/models?before=1").text
    project = place.store.models.get(place.model_id).key.project_name
    other = place.second_version({})
    assert project != "others"
    assert f"/compare/{other}" in mara.get(f"/models/{place.model_id}").text
    assert f"/compare/{place.model_id}" in mara.get(f"/models/{other}").text


def test_two_versions_are_compared_on_the_same_images(place: Scene, mara: Browser) -> None:
    other = place.second_version({4: False, 6: False, 7: True, 1: True})
    place.store.reviews.record(NewReview(place.parts("review")[0], "accept", "ben"))
    address = f"/models/{place.model_id}/compare/{other}"
    page = mara.get(address).text
    assert "4 images were judged by both; 3 of them are labelled or reviewed" in page
    assert "do not show that either is better" in page
    found = compare_models(place.store, place.model_id, other)
    assert (found.known, found.both_right, found.both_wrong) == (3, 0, 0)
    assert (found.difference.only_first, found.difference.only_second) == (2, 1)
    assert found.disagreeing == 3
    third = place.second_version({}, version="3")
    assert "No image was judged by both" in mara.get(f"/models/{other}/compare/{third}").text
