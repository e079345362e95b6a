"""TLS, and folders used as buckets."""

from __future__ import annotations

import http.client
import os
import shutil
import ssl
import subprocess
from pathlib import Path

import boto3
import botocore.session
import pytest

from lfv.client.api import lookoutvision_client
from lfv.formats.errors import SourceError
from lfv.formats.refs import resolve_ref
from lfv.server.buckets import Buckets
from lfv.server.errors import BucketError, OptionsError
from lfv.server.options import ServeOptions
from tests.conftest import skip_or_fail
from tests.support.service import running
from tests.support.signing import KEY, PROJECTS, SECRET, signed


def _openssl() -> str:
    found = shutil.which("openssl")
    if found is None:
        skip_or_fail("there is no openssl to make a certificate with")
    assert found is not None
    return found


def test_tls(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [_openssl(), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    options = {"tls_certificate": str(certificate), "tls_key": str(key)}
    with running(tmp_path / "tls", credentials={KEY: SECRET}, **options) as service:
        assert service.url.startswith("https://")
        botocore_session = botocore.session.Session()
        botocore_session.set_config_variable("ca_bundle", str(certificate))
        botocore_session.set_credentials(KEY, SECRET)
        trusting = lookoutvision_client(
            service.url, session=boto3.Session(botocore_session=botocore_session)
        )
        assert trusting.list_projects()["Projects"] == []
        trusting.close()
        secure = ssl.create_default_context(cafile=certificate)
        connection = http.client.HTTPSConnection("127.0.0.1", service.port, context=secure)
        unsigned = {"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}
        body = b'{"ProjectName": "unsigned"}'
        headers = signed(service, "POST", PROJECTS, body, unsigned)
        connection.request("POST", PROJECTS, body, headers)
        assert connection.getresponse().status == 200
        connection.close()
    with pytest.raises(OptionsError, match="TLS"):
        ServeOptions(tmp_path, tls_key=key).check()


def test_an_encrypted_tls_key_is_refused_without_a_prompt(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [_openssl(), "req", "-x509", "-newkey", "rsa:2048", "-passout", "pass:secret", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip
    options = ServeOptions(tmp_path, tls_certificate=certificate, tls_key=key)
    with pytest.raises(OptionsError, match=r"key\.pem is encrypted"):
        options.check()


BAD_KEYS = [
    "../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/.", "", "a\0b", "link/x", "linked",
    "folder", "pipe", "\ud800", "x" * 300,
]  # fmt: skip


@pytest.mark.parametrize("key", BAD_KEYS)
def test_buckets_cannot_be_escaped(tmp_path: Path, key: str) -> None:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "a").mkdir()
    (tmp_path / "x").write_text("secret")
    (root / "link").symlink_to(tmp_path)
    (root / "linked").symlink_to(tmp_path / "x")
    os.mkfifo(root / "pipe")
    buckets = Buckets({"bucket": root}, s3=False)
    with pytest.raises(BucketError, match="s3://bucket/"):
        buckets.read("bucket", key, 100)
    if key in ("linked", "pipe"):  # writing replaces the link by a file
        buckets.write("bucket", key, b"new")
        assert buckets.read("bucket", key, 100) == b"new"
    else:
        with pytest.raises(BucketError, match="s3://bucket/"):
            buckets.write("bucket", key, b"new")
    assert (tmp_path / "x").read_text() == "secret"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["root", "x"]


def test_bucket_reads_and_writes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 10)
    buckets = Buckets({"bucket": tmp_path}, s3=False)
    buckets.write("bucket", "deep/er/key", b"data")
    buckets.write("bucket", "deep/er/key", tmp_path / "file")
    assert buckets.read("bucket", "deep/er/key", 10) == b"x" * 10
    with pytest.raises(BucketError, match="larger than 9 bytes"):
        buckets.read("bucket", "deep/er/key", 9)
    with pytest.raises(BucketError, match="no such bucket"):
        buckets.read("other", "deep/er/key", 9)


@pytest.mark.parametrize(
    "ref",
    ["x.png", "/x.png", "file:///x", "https://x/y", "s3://bucket", "s3://bucket/",
     "s3:///x", "s3://b/x", "s3://arn:aws:s3:us-east-1:1:accesspoint/x", "s3://a@b.c:80/x", ""],
)  # fmt: skip
def test_refs_that_are_not_s3(ref: str) -> None:
    with pytest.raises(SourceError):
        resolve_ref(ref, None)
