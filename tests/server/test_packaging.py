"""Packaging jobs and the import of what they made."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lfv.server.archive import read_archive
from lfv.server.errors import ArchiveError
from tests.support.service import BUCKET, Service, detect, host, make_model, png
from tests.support.waiting import PLENTY, wait_until


def configuration(component: str, **more: Any) -> dict[str, Any]:
    location = {"Bucket": BUCKET, "Prefix": "packages"}
    return {"Greengrass": {"S3OutputLocation": location, "ComponentName": component, **more}}


def job_done(client: Any, project: str, job: str) -> dict[str, Any]:
    def done() -> dict[str, Any] | None:
        found = client.describe_model_packaging_job(ProjectName=project, JobName=job)
        described: dict[str, Any] = found["ModelPackagingDescription"]
        return described if described["Status"] in ("SUCCEEDED", "FAILED") else None

    described: dict[str, Any] = wait_until(done)
    return described


@pytest.fixture(scope="module")
def archive(client: Any, service: Service) -> Path:
    make_model(client, service, "packed", masks=True)
    client.start_model_packaging_job(
        ProjectName="packed",
        ModelVersion="1",
        JobName="first",
        Configuration=configuration("com.example.packed", ComponentVersion="2.3.4"),
        Description="As shipped.",
    )
    assert job_done(client, "packed", "first")["Status"] == "SUCCEEDED"
    return service.bucket / "packages" / "com.example.packed-2.3.4.zip"


def test_job_is_described(client: Any, archive: Path) -> None:
    described = job_done(client, "packed", "first")
    assert described["ModelVersion"] == "1"
    assert described["ModelPackagingMethod"] == "GreengrassV2"
    assert described["ModelPackagingJobDescription"] == "As shipped."
    given = described["ModelPackagingConfiguration"]["Greengrass"]
    assert given["ComponentName"] == "com.example.packed"
    output = described["ModelPackagingOutputDetails"]["Greengrass"]
    assert output["ComponentVersion"] == "2.3.4"
    assert f"s3://{BUCKET}/packages/{archive.name}" in described["StatusMessage"]
    listed = client.list_model_packaging_jobs(ProjectName="packed")["ModelPackagingJobs"]
    assert {k: described[k] for k in listed[0]} == listed[0]
    with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
        client.describe_model_packaging_job(ProjectName="packed", JobName="second")
    assert caught.value.response["ResourceType"] == "MODEL_PACKAGE_JOB"


def test_component_keeps_the_region_it_was_made_in(
    client: Any, service: Service, archive: Path
) -> None:
    other = service.client(region_name="eu-west-1")
    found = other.describe_model_packaging_job(ProjectName="packed", JobName="first")
    output = found["ModelPackagingDescription"]["ModelPackagingOutputDetails"]["Greengrass"]
    assert output["ComponentVersionArn"].startswith("arn:aws:greengrass:us-east-1:")


def test_jobs_that_are_refused(client: Any, archive: Path) -> None:
    def start(component: str, **more: Any) -> dict[str, Any]:
        extra = {key: more.pop(key) for key in ("JobName", "ModelVersion") if key in more}
        answer: dict[str, Any] = client.start_model_packaging_job(
            **{"ProjectName": "packed", "ModelVersion": "1", **extra},
            Configuration=configuration(component, **more),
        )
        return answer

    conflict, invalid = client.exceptions.ConflictException, client.exceptions.ValidationException
    with pytest.raises(conflict, match="a packaging job named first"):
        start("other", JobName="first")
    with pytest.raises(conflict, match=r"already has version 2\.3\.4"):
        start("com.example.packed", ComponentVersion="2.3.4")
    platform = {"Os": "LINUX", "Arch": "ARM64"}
    with pytest.raises(invalid, match="TargetPlatform"):
        start("other", TargetDevice="jetson_xavier", TargetPlatform=platform)
    with pytest.raises(invalid, match="CompilerOptions"):
        start("other", TargetDevice="jetson_xavier", CompilerOptions="{}x")
    for tags, problem in (("aa", "more than once"), (["aws:x"], "aws:")):
        with pytest.raises(invalid, match=problem):
            start("other", Tags=[{"Key": key, "Value": "v"} for key in tags])
    with pytest.raises(invalid, match="enum"):
        start("other", TargetPlatform={"Os": "DOS", "Arch": "ARM64"})
    with pytest.raises(invalid, match="greengrass"):
        client.start_model_packaging_job(
            ProjectName="packed", ModelVersion="1", Configuration={"Greengrass": {}}
        )
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        start("other", ModelVersion="9")
    job = start("named", TargetPlatform=platform, ModelVersion="latest")["JobName"]
    described = job_done(client, "packed", job)
    assert described["Status"] == "SUCCEEDED"
    assert described["ModelPackagingOutputDetails"]["Greengrass"]["ComponentVersion"] == "1.0.0"


def test_output_that_cannot_be_written(client: Any, archive: Path) -> None:
    wrong = configuration("nowhere")
    wrong["Greengrass"]["S3OutputLocation"]["Bucket"] = "elsewhere"
    job = client.start_model_packaging_job(
        ProjectName="packed", ModelVersion="1", Configuration=wrong
    )["JobName"]
    described = job_done(client, "packed", job)
    assert described["Status"] == "FAILED"
    assert "no such bucket" in described["StatusMessage"]
    assert "ModelPackagingOutputDetails" not in described


def test_same_model_same_archive(client: Any, service: Service, archive: Path) -> None:
    client.start_model_packaging_job(
        ProjectName="packed",
        ModelVersion="1",
        JobName="again",
        Configuration=configuration("again", ComponentVersion="2.3.4"),
    )
    job_done(client, "packed", "again")
    assert (archive.parent / "again-2.3.4.zip").read_bytes() == archive.read_bytes()


def run_import(home: Path, *archives: Path) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys; from pathlib import Path; from lfv.server.model_import import import_models;"
        "from lfv.server.options import ServeOptions;"
        "print(*import_models(ServeOptions(Path(sys.argv[1])), map(Path, sys.argv[2:])))"
    )
    return subprocess.run(
        [sys.executable, "-c", program, str(home), *map(str, archives)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PLENTY,
    )


def test_another_service_imports_it(
    start: Callable[..., Service], archive: Path, client: Any
) -> None:
    service = start()
    service.stop()
    for _ in range(2):  # the second time, it is there already
        assert run_import(service.home, archive).stdout == "packed/1\n"
    other = service.start().client()
    here = other.describe_model(ProjectName="packed", ModelVersion="1")["ModelDescription"]
    there = client.describe_model(ProjectName="packed", ModelVersion="1")["ModelDescription"]
    assert here["Status"] == "TRAINED"
    assert here["Performance"] == there["Performance"]
    assert [m["ModelVersion"] for m in other.list_models(ProjectName="packed")["Models"]] == ["1"]
    host(other, "packed")
    assert detect(other, "packed", png(bright=True))["Anomalies"][1]["Name"] == "cracked"
    # Its project accepts further trainings.
    with pytest.raises(other.exceptions.ConflictException, match="no train dataset"):
        other.create_model(ProjectName="packed", OutputConfig={"S3Location": {"Bucket": BUCKET}})


def test_deleted_import_stays_deleted(start: Callable[..., Service], archive: Path) -> None:
    service = start()
    service.stop()
    assert run_import(service.home, archive).stdout == "packed/1\n"
    client = service.start().client()
    client.delete_model(ProjectName="packed", ModelVersion="1")
    wait_until(lambda: not client.list_models(ProjectName="packed")["Models"])
    service.stop()
    again = run_import(service.home, archive)
    assert again.stdout == "\n"
    told = "is not imported again: it was imported as packed/1, which was deleted since"
    assert f"{archive.name} {told}" in again.stderr
    assert service.start().client().list_models(ProjectName="packed")["Models"] == []


def rewritten(archive: Path, target: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    with zipfile.ZipFile(archive) as source:
        files = {name: source.read(name) for name in source.namelist()}
    change(files)
    with zipfile.ZipFile(target, "w") as out:
        for name, data in files.items():
            out.writestr(name, data)
    return target


def described(files: dict[str, bytes], **changes: Any) -> None:
    document = json.loads(files["lfv-model.json"])
    files["lfv-model.json"] = json.dumps({**document, **changes}).encode()


def escape(files: dict[str, bytes]) -> None:
    document = json.loads(files["lfv-model.json"])
    document["files"]["../../escaped"] = {"sha256": "0" * 64, "bytes": 1}
    files["lfv-model.json"] = json.dumps(document).encode()
    files["artifact/../../escaped"] = b"x"


DAMAGES: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "tampered": (lambda f: f.update({"artifact/model.json": b"{}"}), "does not match its digest"),
    "missing": (lambda f: f.pop("artifact/model.json"), "not those that"),
    "added": (lambda f: f.update({"artifact/more": b"x"}), "not those that"),
    "escaping": (escape, "outside the model"),
    "no description": (lambda f: f.pop("lfv-model.json"), "no lfv-model.json"),
    "no json": (lambda f: f.update({"lfv-model.json": b"{"}), "damaged"),
    "other format": (lambda f: described(f, format=2), "it has format 2"),
    "bad name": (lambda f: described(f, project="../x"), "project name"),
    "bad figures": (
        lambda f: described(f, performance={"f1": 2, "precision": 1, "recall": 1}),
        "out of range",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_archives_are_refused(archive: Path, tmp_path: Path, damage: str) -> None:
    change, message = DAMAGES[damage]
    bad = rewritten(archive, tmp_path / "bad.zip", change)
    with pytest.raises(ArchiveError, match=message):
        read_archive(bad, tmp_path / "artifact")
    assert not (tmp_path / "artifact").exists()
    assert not (tmp_path.parent / "escaped").exists()


@pytest.mark.parametrize("offset", range(8))
def test_damaged_bits_are_refused(archive: Path, tmp_path: Path, offset: int) -> None:
    """One bit of an archive is wrong, at another position each time."""
    whole = archive.read_bytes()
    bad, artifact = tmp_path / "bad.zip", tmp_path / "model" / "artifact"
    for position in range(offset, len(whole), 8):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position // 8 % 8)
        bad.write_bytes(damaged)
        try:
            read_archive(bad, artifact)
        except ArchiveError as error:
            assert "bad.zip" in str(error)  # noqa: PT017 (some bits, such as of dates, mean nothing)
            assert not artifact.parent.exists()
        else:
            shutil.rmtree(artifact.parent)


@pytest.mark.parametrize(
    ("flag", "problem"), [(0x01, "encrypted"), (0x20, "patched"), (0x40, "encryption")]
)
def test_archives_that_zipfile_cannot_read_are_refused(
    archive: Path, tmp_path: Path, flag: int, problem: str
) -> None:
    whole = bytearray(archive.read_bytes())
    for signature, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        whole[whole.index(signature) + at] |= flag
    (tmp_path / "bad.zip").write_bytes(whole)
    with pytest.raises(ArchiveError, match=rf"bad\.zip is not a readable .*{problem}"):
        read_archive(tmp_path / "bad.zip", tmp_path / "artifact")
    assert not (tmp_path / "artifact").exists()


def test_an_existing_folder_is_not_changed(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / "mine").touch()
    with pytest.raises(ArchiveError):
        read_archive(archive, tmp_path / "artifact")
    assert (tmp_path / "artifact" / "mine").exists()


def test_files_that_are_not_archives(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK not really")
    with pytest.raises(ArchiveError, match="not a readable model archive"):
        read_archive(tmp_path / "x.zip", tmp_path / "artifact")
    done = run_import(tmp_path / "home", tmp_path / "missing.zip")
    assert "ArchiveError" in done.stderr


def test_bomb_is_not_unpacked(archive: Path, tmp_path: Path) -> None:
    """Unpacking stops at a file's declared size."""

    def bomb(files: dict[str, bytes]) -> None:
        files["artifact/model.json"] = b"\0" * 50_000_000

    with zipfile.ZipFile(archive) as source:
        files = {name: source.read(name) for name in source.namelist()}
    bomb(files)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            out.writestr(name, data)
    with pytest.raises(ArchiveError, match="does not match its digest"):
        read_archive(tmp_path / "bomb.zip", tmp_path / "artifact")


def test_delete_while_packaging_is_refused(
    client: Any, service: Service, archive: Path, tmp_path: Path
) -> None:
    import sqlite3

    connection = sqlite3.connect(service.home / "service.db")
    with connection:
        connection.execute("UPDATE packaging_jobs SET status = 'RUNNING' WHERE name = 'first'")
    try:
        with pytest.raises(client.exceptions.ConflictException, match="being packaged"):
            client.delete_model(ProjectName="packed", ModelVersion="1")
    finally:
        with connection:
            connection.execute(
                "UPDATE packaging_jobs SET status = 'SUCCEEDED' WHERE name = 'first'"
            )
        connection.close()
