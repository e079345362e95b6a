"""S3 over HTTP: moto's server for successes, a scripted one for failures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from lfv.client.manifests import manifest_kind, read_manifest
from lfv.client.sources import SourceReader
from lfv.client.staging import Staging, stage_dataset
from lfv.formats.errors import (
    CredentialsRefused,
    ManifestKindUnknown,
    SourceForbidden,
    SourceNotFound,
    SourceRefInvalid,
    SourceTooLarge,
    SourceUnavailable,
)
from lfv.formats.manifest.records import ManifestItem
from tests.client.conftest import Reply, ScriptedApi

SESSION = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.session.Session(**SESSION).client(
        "s3", endpoint_url=url, region_name="us-east-1"
    )
    client.create_bucket(Bucket="parts")
    client.close()
    yield url
    server.stop()


@pytest.fixture
def s3(s3_url: str) -> Iterator[SourceReader]:
    with SourceReader(None, s3_url, session=boto3.session.Session(**SESSION)) as reader:
        yield reader


def failing(url: str, **session: Any) -> SourceReader:
    return SourceReader(None, url, session=boto3.session.Session(**(session or SESSION)))


def test_write_read_list(s3: SourceReader, tmp_path: Path) -> None:
    store = s3.bucket("parts")
    (tmp_path / "local").write_bytes(b"from a file")
    store.put("lot/1.png", b"bytes")
    store.put("lot/2.png", tmp_path / "local")
    assert s3.read_bytes("s3://parts/lot/1.png") == b"bytes"
    assert s3.read_bytes("s3://parts/lot/2.png") == b"from a file"
    assert store.size_of("lot/1.png") == 5
    assert store.size_of("lot/none") is None
    assert [str(ref) for ref in s3.list("s3://parts/lot/")] == [
        "s3://parts/lot/1.png",
        "s3://parts/lot/2.png",
    ]


def test_keys_are_taken_literally(s3: SourceReader) -> None:
    """S3 has no folders: these are seven different objects."""
    keys = ["x/a b", "x/a+b", "x/a%20b", "x//a", "x/é", "x/./a", "x/?a=b#c"]
    for key in keys:
        s3.bucket("parts").put(key, key.encode())
    for key in keys:
        assert s3.read_bytes(f"s3://parts/{key}") == key.encode()


def test_listing_reads_all_pages(api: ScriptedApi) -> None:
    def page(key: str, more: str) -> Reply:
        body = f"<ListBucketResult>{more}<Contents><Key>{key}</Key></Contents></ListBucketResult>"
        return Reply(200, body.encode())

    token = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"
    api.queue(page("a.png", token), page("b.png", ""))
    with failing(api.url) as reader:
        assert [ref.key for ref in reader.list("s3://parts/")] == ["a.png", "b.png"]
    assert "continuation-token=t" in api.requests[1].path


def test_bounds(s3: SourceReader) -> None:
    s3.bucket("parts").put("big", b"12345")
    with pytest.raises(SourceTooLarge):
        s3.read_bytes("s3://parts/big", limit=4)


def test_missing(s3: SourceReader) -> None:
    with pytest.raises(SourceNotFound, match="does not exist"):
        s3.read_bytes("s3://parts/none")
    with pytest.raises(SourceNotFound, match="bucket"):
        s3.read_bytes("s3://no-such-bucket/none")
    with pytest.raises(SourceNotFound):
        list(s3.list("s3://no-such-bucket/"))


def test_a_manifest_and_its_images_in_a_bucket(s3: SourceReader) -> None:
    s3.bucket("parts").put("lots/7/all.manifest", b'{"source-ref":"img/1.png"}\n')
    records = list(read_manifest("s3://parts/lots/7/all.manifest", s3))
    assert [r.source_ref for r in records if isinstance(r, ManifestItem)] == [
        "s3://parts/lots/7/img/1.png"
    ]


def test_a_prefix_without_its_slash(s3: SourceReader) -> None:
    s3.bucket("parts").put("lots/8/a.png", b"")
    with pytest.raises(ManifestKindUnknown, match="write s3://parts/lots/8/ to read"):
        manifest_kind("s3://parts/lots/8", s3)
    with pytest.raises(SourceNotFound):
        manifest_kind("s3://parts/lots/none", s3)


def test_training_data_is_staged_to_s3(s3: SourceReader, tmp_path: Path, png: bytes) -> None:
    (tmp_path / "normal").mkdir()
    (tmp_path / "normal" / "a.png").write_bytes(png)
    s3.bucket("parts").put("elsewhere/normal/b.png", png)
    for source in (str(tmp_path), "s3://parts/elsewhere/"):
        staged = stage_dataset(source, s3, Staging("parts"))
        (item,) = list(read_manifest(str(staged.manifest), s3))
        assert isinstance(item, ManifestItem)
        assert s3.read_bytes(item.source_ref) == png
        assert item.is_anomalous is False


def s3_error(status: int, code: str) -> Reply:
    body = f"<Error><Code>{code}</Code><Message>because</Message></Error>"
    return Reply(status, body.encode(), {"x-amz-request-id": "1"})


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (s3_error(403, "AccessDenied"), SourceForbidden),
        (s3_error(403, "InvalidAccessKeyId"), CredentialsRefused),
        (s3_error(400, "ExpiredToken"), CredentialsRefused),
        (s3_error(403, "InvalidObjectState"), SourceForbidden),
        (s3_error(404, "NoSuchKey"), SourceNotFound),
        (s3_error(400, "KeyTooLongError"), SourceRefInvalid),
    ],
)
def test_refusals(api: ScriptedApi, reply: Reply, error: type[Exception]) -> None:
    api.queue(reply)
    with failing(api.url) as reader, pytest.raises(error):
        reader.read_bytes("s3://parts/x")
    assert len(api.requests) == 1


def test_temporary_failures_are_retried(api: ScriptedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    api.queue(s3_error(503, "SlowDown"), Reply(drop=True), Reply(200, b"content"))
    with failing(api.url) as reader:
        assert reader.read_bytes("s3://parts/x") == b"content"


def test_a_store_that_stays_down(api: ScriptedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    api.queue(s3_error(503, "SlowDown"))
    with failing(api.url) as reader, pytest.raises(SourceUnavailable) as caught:
        reader.read_bytes("s3://parts/x")
    assert caught.value.retryable


def test_nothing_listens(api: ScriptedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    api.close()
    with failing(api.url) as reader, pytest.raises(SourceUnavailable):
        list(reader.list("s3://parts/"))


def test_an_interrupted_transfer(api: ScriptedApi) -> None:
    api.queue(
        Reply(200, b"only half", {"Content-Length": "100"}),
    )
    with failing(api.url) as reader, pytest.raises(SourceUnavailable):
        reader.read_bytes("s3://parts/x")


def test_without_credentials(api: ScriptedApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.session.Session.get_credentials", lambda *_: None)
    with SourceReader(None, api.url) as reader, pytest.raises(CredentialsRefused, match="folder"):
        reader.read_bytes("s3://parts/x")
    assert not api.requests


def test_an_invalid_endpoint() -> None:
    with failing("not an address") as reader, pytest.raises(SourceRefInvalid):
        reader.read_bytes("s3://parts/x")
