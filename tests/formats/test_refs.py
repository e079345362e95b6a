"""What references mean, and which are refused before anything is opened."""

from __future__ import annotations

import pytest

from lfv.formats.errors import SourceError, SourceOutside, SourceRefInvalid, SourceSchemeUnsupported
from lfv.formats.refs import FileRef, Ref, S3Ref, parent_of, parse_ref, resolve_ref

FOLDER = FileRef("/data/lot")
PREFIX = S3Ref("parts", "lots/7/")


@pytest.mark.parametrize(
    ("written", "base", "full"),
    [
        ("a.png", FOLDER, "/data/lot/a.png"),
        ("sub/ä b.png", FOLDER, "/data/lot/sub/ä b.png"),
        ("../other/a.png", FOLDER, "/data/lot/../other/a.png"),
        ("/elsewhere/a.png", FOLDER, "/elsewhere/a.png"),
        ("file:///elsewhere/a%20b.png", FOLDER, "/elsewhere/a b.png"),
        ("file://localhost/elsewhere/a.png", FOLDER, "/elsewhere/a.png"),
        ("file:/elsewhere/a.png", FOLDER, "/elsewhere/a.png"),
        ("FILE:///elsewhere/a.png", FOLDER, "/elsewhere/a.png"),
        ("100%.png", FOLDER, "/data/lot/100%.png"),
        ("12:30:05.png", FOLDER, "/data/lot/12:30:05.png"),
        ("s3://other/a%20b.png", FOLDER, "s3://other/a%20b.png"),
        ("S3://other/a.png", FOLDER, "s3://other/a.png"),
        ("s3://other/a//b.png", PREFIX, "s3://other/a//b.png"),
        ("a.png", PREFIX, "s3://parts/lots/7/a.png"),
        ("../8/a.png", PREFIX, "s3://parts/lots/8/a.png"),
        ("a.png", S3Ref("parts", ""), "s3://parts/a.png"),
    ],
)
def test_meaning(written: str, base: Ref, full: str) -> None:
    assert str(resolve_ref(written, base)) == full


@pytest.mark.parametrize(
    ("written", "base", "error"),
    [
        ("", FOLDER, SourceRefInvalid),
        ("   ", FOLDER, SourceRefInvalid),
        ("a\x00.png", FOLDER, SourceRefInvalid),
        ("a\n.png", FOLDER, SourceRefInvalid),
        ("a" * 5000, FOLDER, SourceRefInvalid),
        ("\ud800.png", FOLDER, SourceRefInvalid),
        ("s3://", FOLDER, SourceRefInvalid),
        ("s3://b", FOLDER, SourceRefInvalid),
        ("s3://parts", FOLDER, SourceRefInvalid),
        ("s3://parts/", FOLDER, SourceRefInvalid),
        ("s3://parts/prefix/", FOLDER, SourceRefInvalid),
        ("s3:///key", FOLDER, SourceRefInvalid),
        ("s3:/parts/key", FOLDER, SourceRefInvalid),
        ("s3: //parts/key", FOLDER, SourceRefInvalid),
        ("s3://parts with spaces/key", FOLDER, SourceRefInvalid),
        ("s3://parts/" + "k" * 1025, FOLDER, SourceRefInvalid),
        ("file://", FOLDER, SourceRefInvalid),
        ("file:///", FOLDER, SourceRefInvalid),
        ("file:a.png", FOLDER, SourceRefInvalid),
        ("file://server/share/a.png", FOLDER, SourceRefInvalid),
        ("file:///a%00.png", FOLDER, SourceRefInvalid),
        ("file:///a%ff.png", FOLDER, SourceRefInvalid),
        ("file://[::1/a.png", FOLDER, SourceRefInvalid),
        ("http://example.com/a.png", FOLDER, SourceSchemeUnsupported),
        ("https://example.com/a.png", PREFIX, SourceSchemeUnsupported),
        ("ftp://example.com/a.png", FOLDER, SourceSchemeUnsupported),
        ("gopher://x", FOLDER, SourceSchemeUnsupported),
        ("data:image/png;base64,AAAA", FOLDER, SourceSchemeUnsupported),
        ("/etc/passwd", PREFIX, SourceOutside),
        ("file:///etc/passwd", PREFIX, SourceOutside),
        ("../../../a.png", PREFIX, SourceOutside),
        ("..", S3Ref("parts", ""), SourceOutside),
    ],
)
def test_refusals(written: str, base: Ref, error: type[SourceError]) -> None:
    with pytest.raises(error) as caught:
        resolve_ref(written, base)
    assert type(caught.value) is error
    assert not caught.value.retryable


def test_parents() -> None:
    assert parent_of(S3Ref("parts", "a/b/c.manifest")) == S3Ref("parts", "a/b/")
    assert parent_of(S3Ref("parts", "c.manifest")) == S3Ref("parts", "")
    assert parent_of(FileRef("/data/lot/c.manifest")) == FOLDER


def test_a_relative_path_of_a_manifest_becomes_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    assert parent_of(parse_ref("tmp/x.manifest")) == FileRef("/tmp")  # noqa: S108
