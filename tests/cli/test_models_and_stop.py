"""`lfv models` and `lfv stop` against an endpoint that records every call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from lfv.client.catalog import ModelEntry
from lfv_store import ModelKey
from tests.cli.conftest import RUN_ID, begin_run
from tests.support.standin import Model, serve

if TYPE_CHECKING:
    from lfv_store import Lease, Store
    from tests.cli.conftest import Lfv

ARN = "arn:aws:lookoutvision:us-east-1:000000000000:model/parts/1"


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def endpoint(model: Model, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of an API with one model, version 1 of the project parts."""
    server = serve(model)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("LFV_ENDPOINT_URL", url)
    yield url
    server.shutdown()
    thread.join()
    server.server_close()


def operations(model: Model) -> list[str]:
    return [str(call["operation"]) for call in model.calls]


def lease(store: Store, *, hosted: bool = False) -> Lease:
    """A run's claim on the model, with the hosting that it opens."""
    begin_run(store, RUN_ID)
    model_id = store.models.register(ModelKey("lookoutvision", ARN, "parts", "1"))
    return store.leases.acquire(
        model_id,
        RUN_ID,
        host_spec={"kind": "lookoutvision"},
        units=(1, None),
        price_per_unit_hour=4.0,
        ttl=timedelta(minutes=3),
        already_hosted=hosted,
    )


def test_models_are_listed(lfv: Lfv, endpoint: str) -> None:
    outcome = lfv("models")
    assert outcome.status == 0
    assert outcome.out.splitlines()[1].split() == ["parts", "1", "TRAINED", "2023-11-14T22:13:20Z"]
    (shown,) = lfv("models", "--project", "parts", "--json").json()
    assert shown["model_arn"] == ARN
    assert shown["status"] == "TRAINED"
    assert shown["f1"] is None


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ("TRAINED", "Training completed."),
        ("TRAINING_FAILED", "Training completed. The border predicts as well as the whole."),
    ],
)
def test_the_table_has_the_first_sentence_of_a_remark(
    lfv: Lfv, monkeypatch: pytest.MonkeyPatch, endpoint: str, status: str, shown: str
) -> None:
    whole = "Training completed. The border predicts as well as the whole."
    entry = ModelEntry("parts", "1", status, whole)
    monkeypatch.setattr("lfv.client.catalog.model_entries", lambda *_, **__: [entry])
    assert lfv("models").out.splitlines()[1].split(maxsplit=3)[3] == shown
    assert lfv("models", "--json").json()[0]["message"] == whole


def test_a_version_is_approved_and_the_approval_withdrawn(
    lfv: Lfv, endpoint: str, store: Store
) -> None:
    lease(store)
    unknown = lfv("models", "approve", "parts", "7", "--reason", "better")
    assert (unknown.status, "version 7 is recorded" in unknown.err) == (2, True)
    outcome = lfv("models", "approve", "parts", "1", "--reason", "better", "--by", "Ana")
    assert outcome.out == (
        "version 1 of parts is approved by Ana: runs use it unless they name another\n"
    )
    assert lfv("models", "--json").json()[0]["approved"] is True
    assert "Ana" in lfv("models", "approvals", "parts").out
    withdraw = ("models", "withdraw", "parts", "--reason", "camera", "--by", "Ana")
    assert lfv(*withdraw).status == 0
    assert "no version of parts is approved" in lfv(*withdraw).err
    assert lfv("models", "--json").json()[0]["approved"] is False


def test_an_unreachable_endpoint_is_reported_in_one_sentence(lfv: Lfv) -> None:
    outcome = lfv("models", "--endpoint-url", "http://127.0.0.1:9")
    assert outcome.status == 1
    assert outcome.err.startswith("lfv: http://127.0.0.1:9 cannot be reached; check")
    assert outcome.err.count("\n") == 1


def test_a_hosted_model_is_stopped(lfv: Lfv, endpoint: str, model: Model) -> None:
    model.change("HOSTED", 0.0)
    outcome = lfv("stop", "--project", "parts")
    assert outcome.status == 0
    assert outcome.out == "model parts version 1 is stopped\n"
    assert model.settle() == "TRAINED"
    assert operations(model).count("StopModel") == 1


def test_stopping_a_stopped_model_succeeds(lfv: Lfv, endpoint: str, model: Model) -> None:
    shown = lfv("stop", "--project", "parts", "--model-version", "1", "--json").json()
    assert shown["was_hosted"] is False
    assert shown["hosting_id"] is None
    assert model.settle() == "TRAINED"


def test_a_model_in_use_is_left_alone_unless_forced(
    lfv: Lfv, endpoint: str, model: Model, store: Store
) -> None:
    held = lease(store)
    model.change("HOSTED", 0.0)
    refused = lfv("stop", "--project", "parts")
    assert refused.status == 1
    assert "--force" in refused.err
    assert model.settle() == "HOSTED"
    assert "StopModel" not in operations(model)
    forced = lfv("stop", "--project", "parts", "--force")
    assert forced.status == 0
    assert model.settle() == "TRAINED"
    assert store.hostings.get(held.hosting_id).status == "stopped"


def test_a_stop_ends_a_hosting_without_leases(
    lfv: Lfv, endpoint: str, model: Model, store: Store
) -> None:
    held = lease(store)
    store.leases.release(held.lease_id)
    model.change("HOSTED", 0.0)
    shown = lfv("stop", "--project", "parts", "--json").json()
    assert shown["hosting_id"] == held.hosting_id
    after = store.hostings.get(held.hosting_id)
    assert after.status == "stopped"
    assert after.stopped_at is not None


def test_a_model_is_stopped_although_the_database_is_unavailable(
    lfv: Lfv, endpoint: str, model: Model
) -> None:
    model.change("HOSTED", 0.0)
    away = ("--database-url", "postgresql://lfv:s3cret@127.0.0.1:9/lfv")
    refused = lfv("stop", "--project", "parts", *away)
    assert refused.status == 1
    assert "or stop the newest with --force" in refused.err
    assert "s3cret" not in refused.err
    assert model.settle() == "HOSTED"
    forced = lfv("stop", "--project", "parts", "--force", *away)
    assert forced.status == 0
    assert "will not be recorded" in forced.err
    assert model.settle() == "TRAINED"


def test_a_model_that_does_not_exist(lfv: Lfv, endpoint: str) -> None:
    outcome = lfv("stop")
    assert outcome.status == 2
    assert "--project" in outcome.err
