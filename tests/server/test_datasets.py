"""Datasets: manifests read, entries listed and changed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.fuzzing import resources
from tests.support.service import (
    BUCKET,
    Service,
    dataset_done,
    line,
    make_dataset,
    put_manifest,
)

REF = f"s3://{BUCKET}/images"


def create(client: Any, service: Service, project: str, lines: list[str]) -> dict[str, Any]:
    source = put_manifest(service, f"{project}.manifest", lines)
    made = client.create_dataset(ProjectName=project, DatasetType="train", DatasetSource=source)
    assert made["DatasetMetadata"]["Status"] == "CREATE_IN_PROGRESS"
    return dataset_done(client, project)


def update(client: Any, project: str, changes: bytes) -> dict[str, Any]:
    answer = client.update_dataset_entries(
        ProjectName=project, DatasetType="train", Changes=changes
    )
    assert answer["Status"] == "UPDATE_IN_PROGRESS"
    return dataset_done(client, project)


def entries(client: Any, project: str, **wanted: Any) -> list[dict[str, Any]]:
    pages = client.get_paginator("list_dataset_entries").paginate(
        ProjectName=project, DatasetType="train", PaginationConfig={"PageSize": 2}, **wanted
    )
    return [json.loads(entry) for page in pages for entry in page["DatasetEntries"]]


def refs(client: Any, project: str, **wanted: Any) -> list[str]:
    return [e["source-ref"].removeprefix(f"{REF}/") for e in entries(client, project, **wanted)]


def test_dataset_from_a_manifest(service: Service, client: Any, project: str) -> None:
    lines = [
        line(f"{REF}/1.png"),
        line(f"{REF}/2.png", "anomaly", mask=f"{REF}/2.mask.png"),
        "",
        line(f"{REF}/3.png", None),
        line(f"{REF}/4.png", "Something"),
    ]
    described = create(client, service, project, lines)
    assert described["Status"] == "CREATE_COMPLETE"
    assert described["ImageStats"] == {"Total": 4, "Labeled": 2, "Normal": 1, "Anomaly": 1}
    assert [json.loads(text) for text in lines if text] == entries(client, project)
    listed = client.describe_project(ProjectName=project)["ProjectDescription"]["Datasets"]
    assert [(d["DatasetType"], d["Status"]) for d in listed] == [("train", "CREATE_COMPLETE")]


def test_bad_lines_are_counted_and_named(service: Service, client: Any, project: str) -> None:
    bad = {
        "{": "not valid JSON",
        "[]": "JSON, but not an object",
        "{}": "no source-ref",
        line("images/1.png"): "source-ref 'images/1.png': the reference is not an s3:// address",
        line("file:///etc/passwd"): "is not an s3:// address",
        line("s3://ab/x.png"): "no valid bucket name",
        line("s3://other-bucket/x.png"): "is not the other images' bucket",
        line(f"{REF}/x.png", more="x" * 300_000): "longer than 262,144 bytes",
        line(f"{REF}//x.png"): "the key cannot be a file's path",
        line(f"{REF}/x.png", mask=f"{REF}/../x.png"): "the key cannot be a file's path",
        line(f"{REF}/x.png", mask="mask.png"): "anomaly-mask-ref 'mask.png': the reference is not",
        line(f"{REF}/x.png")[:-1]
        + f', "deep": {"[" * 600}{"]" * 600}}}': "nested deeper than 32 levels",
        line(f"{REF}/x.png")[:-1] + f', "deep": {"[" * 2000}{"]" * 2000}}}': "nested deeper",
    }
    for number, (text, problem) in enumerate(bad.items()):
        name = f"{project}-{number}"
        client.create_project(ProjectName=name)
        described = create(client, service, name, [line(f"{REF}/1.png"), text, line(f"{REF}/3")])
        assert described["Status"] == "CREATE_COMPLETE"
        assert described["ImageStats"]["Total"] == 2
        message = described["StatusMessage"]
        assert "1 line could not be used: line 2: " in message
        assert problem in message


def attributes(**classes: str) -> list[tuple[str, Any]]:
    """Members of a line that give the image classes, by attribute."""
    members: list[tuple[str, Any]] = []
    for name, label in classes.items():
        attribute = name.replace("_", "-")
        members.append((attribute, int(label == "anomaly")))
        kind = "groundtruth/image-classification"
        members.append((f"{attribute}-metadata", {"class-name": label, "type": kind}))
    return members


@pytest.mark.parametrize("turned", [False, True])
def test_the_order_of_members_does_not_matter(
    service: Service, client: Any, project: str, turned: bool
) -> None:
    """A verdict is not a label, and another class does not hide the label."""
    given = {
        "verdict": attributes(a_label="anomaly", a_label_detected="normal"),
        "only": attributes(label_detected="anomaly"),
        "part": attributes(part="flange", quality="normal"),
        "same": attributes(first="anomaly", second="Anomaly"),
        "torn": attributes(first="anomaly", second="normal"),
        "masked": [
            member
            for name in ("a", "b")
            for member in (
                (f"{name}-ref", f"{REF}/{name}.png"),
                (f"{name}-ref-metadata", {"internal-color-map": {}}),
            )
        ],
        "shown": [
            ("x-detected-ref", f"{REF}/x.png"),
            ("x-detected-ref-metadata", {"internal-color-map": {"1": "no map"}}),
        ],
    }
    lines = []
    for name, members in given.items():
        ordered = [("source-ref", f"{REF}/{name}"), *members]
        lines.append(json.dumps(dict(ordered[::-1] if turned else ordered)))
    described = create(client, service, project, lines)
    assert described["ImageStats"] == {"Total": 5, "Labeled": 3, "Normal": 1, "Anomaly": 2}
    assert refs(client, project, AnomalyClass="anomaly") == ["verdict", "same"]
    message = described["StatusMessage"]
    assert "line 5: The labels of the line contradict each other: first, second" in message
    assert "line 6: The line has several masks: a-ref, b-ref" in message


def test_line_of_a_hundred_megabytes(service: Service, client: Any, project: str) -> None:
    """It takes a moment and no memory, and the lines around it are read."""
    assert service.process is not None
    path = service.bucket / f"{project}.manifest"
    with path.open("wb") as file:
        file.write(line(f"{REF}/1.png").encode() + b"\n")
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b"\n" + line(f"{REF}/3.png").encode())
    before = resources(service.process.pid)["rss"]
    source = {"GroundTruthManifest": {"S3Object": {"Bucket": BUCKET, "Key": path.name}}}
    client.create_dataset(ProjectName=project, DatasetType="train", DatasetSource=source)
    described = dataset_done(client, project)
    assert described["ImageStats"]["Total"] == 2
    assert "line 2: The line is longer than 262,144 bytes" in described["StatusMessage"]
    assert resources(service.process.pid)["rss"] < before + 30_000
    path.unlink()


def test_listed_lines_can_be_submitted_again(service: Service, client: Any, project: str) -> None:
    """Lines come back as JSON of the same meaning, whatever characters are in them."""
    odd = json.loads(line(f"{REF}/ü \u2028 \x85.png", note="\r\n\t\U0001f36a\x7f", number=1e15))
    create(client, service, project, [json.dumps(odd), f" {line(f'{REF}/2')}\r"])
    assert entries(client, project) == [odd, json.loads(line(f"{REF}/2"))]
    listed = client.list_dataset_entries(ProjectName=project, DatasetType="train")
    update(client, project, "\n".join(listed["DatasetEntries"]).encode())
    assert entries(client, project) == [odd, json.loads(line(f"{REF}/2"))]


def test_filters_together(service: Service, client: Any, project: str) -> None:
    lines = [line(f"{REF}/{name}", label) for name, label in (
        ("a1", "normal"), ("a2", "anomaly"), ("b1", "anomaly"), ("b2", None), ("a3", "anomaly"),
    )]  # fmt: skip
    create(client, service, project, lines)
    assert refs(client, project, AnomalyClass="anomaly", SourceRefContains="/a") == ["a2", "a3"]
    assert refs(client, project, Labeled=False, AnomalyClass="anomaly") == []
    assert refs(client, project, Labeled=True, SourceRefContains="b") == ["a1", "a2", "b1", "a3"]
    between = {"AfterCreationDate": "2022-08-22T20:00Z", "BeforeCreationDate": "2022-08-22T21:00Z"}
    assert refs(client, project, **between) == ["a1", "a2", "b1", "a3"]
    # A page's token is for its filters only.
    first = client.list_dataset_entries(
        ProjectName=project, DatasetType="train", MaxResults=1, Labeled=True
    )
    assert len(first["DatasetEntries"]) == 1
    for other in ({}, {"Labeled": False}, {"Labeled": True, "SourceRefContains": "a"}):
        with pytest.raises(client.exceptions.ValidationException, match="pagination token"):
            client.list_dataset_entries(
                ProjectName=project, DatasetType="train", NextToken=first["NextToken"], **other
            )


def test_a_manifest_without_valid_lines_fails(service: Service, client: Any, project: str) -> None:
    described = create(client, service, project, [f"{{{n}" for n in range(50)])
    assert described["Status"] == "CREATE_FAILED"
    assert (
        "line 5: The line is not valid JSON at character 2: {4; and 45 more"
        in (described["StatusMessage"])
    )
    with pytest.raises(client.exceptions.ConflictException, match="CREATE_FAILED"):
        client.update_dataset_entries(ProjectName=project, DatasetType="train", Changes=b"{}")
    client.delete_dataset(ProjectName=project, DatasetType="train")
    assert create(client, service, project, [line(f"{REF}/1")])["Status"] == "CREATE_COMPLETE"


@pytest.mark.parametrize("key", ["missing.manifest", "../home/service.db", "a//b", "folder"])
def test_manifest_that_is_not_a_file(service: Service, client: Any, project: str, key: str) -> None:
    (service.bucket / "folder").mkdir(exist_ok=True)
    source = {"GroundTruthManifest": {"S3Object": {"Bucket": BUCKET, "Key": key}}}
    try:
        client.create_dataset(ProjectName=project, DatasetType="train", DatasetSource=source)
    except client.exceptions.ValidationException:
        return  # the key isn't one by the API's own pattern
    described = dataset_done(client, project)
    assert described["Status"] == "CREATE_FAILED"
    assert f"s3://{BUCKET}/{key}" in described["StatusMessage"]


def test_invalid_bucket(client: Any, project: str) -> None:
    source = {"GroundTruthManifest": {"S3Object": {"Bucket": "elsewhere", "Key": "m"}}}
    client.create_dataset(ProjectName=project, DatasetType="train", DatasetSource=source)
    described = dataset_done(client, project)
    assert described["Status"] == "CREATE_FAILED"
    assert "there is no such bucket" in described["StatusMessage"]


def test_links_do_not_lead_out_of_a_bucket(service: Service, client: Any, project: str) -> None:
    outside = service.folder / "outside"
    outside.mkdir(exist_ok=True)
    (outside / "secret.manifest").write_text(line(f"{REF}/1.png"))
    (service.bucket / "link").unlink(missing_ok=True)
    (service.bucket / "link").symlink_to(outside)
    (service.bucket / "link.manifest").unlink(missing_ok=True)
    (service.bucket / "link.manifest").symlink_to(outside / "secret.manifest")
    for key in ("link/secret.manifest", "link.manifest"):
        source = {"GroundTruthManifest": {"S3Object": {"Bucket": BUCKET, "Key": key}}}
        client.create_dataset(ProjectName=project, DatasetType="train", DatasetSource=source)
        described = dataset_done(client, project)
        assert described["Status"] == "CREATE_FAILED", described
        client.delete_dataset(ProjectName=project, DatasetType="train")


def test_an_empty_dataset_is_created_at_once(client: Any, project: str) -> None:
    made = client.create_dataset(ProjectName=project, DatasetType="train")["DatasetMetadata"]
    assert made["Status"] == "CREATE_COMPLETE"
    assert entries(client, project) == []
    with pytest.raises(client.exceptions.ConflictException) as caught:
        client.create_dataset(ProjectName=project, DatasetType="train")
    assert caught.value.response["ResourceType"] == "DATASET"


@pytest.mark.parametrize("kind", ["training", "TRAIN", "", "tra"])
def test_other_kinds_of_dataset(client: Any, project: str, kind: str) -> None:
    with pytest.raises(client.exceptions.ValidationException, match="datasetType"):
        client.create_dataset(ProjectName=project, DatasetType=kind)


def test_source_without_a_manifest(client: Any, project: str) -> None:
    for source in ({}, {"GroundTruthManifest": {}}):
        with pytest.raises(client.exceptions.ValidationException, match="s3Object"):
            client.create_dataset(ProjectName=project, DatasetType="train", DatasetSource=source)


def test_no_such_dataset(client: Any, project: str) -> None:
    for call in (client.describe_dataset, client.delete_dataset, client.list_dataset_entries):
        with pytest.raises(client.exceptions.ResourceNotFoundException) as caught:
            call(ProjectName=project, DatasetType="test")
        assert caught.value.response["ResourceType"] == "DATASET"
        assert caught.value.response["ResourceId"] == f"{project}/test"


def test_filters(service: Service, client: Any, project: str) -> None:
    when = "2021-06-01T10:00:00"
    old = json.loads(line(f"{REF}/old.png", "anomaly"))
    old["anomaly-label-metadata"]["creation-date"] = when
    script = json.loads(line(f"{REF}/script.png"))
    script["anomaly-label-metadata"]["creation-date"] = (
        "Mon Aug 22 2022 13:52:52 GMT-0700 (Pacific Daylight Time)"
    )
    lines = [
        json.dumps(old),
        json.dumps(script),
        line(f"{REF}/a%_b.png"),
        line(f"{REF}/none.png", None),
    ]
    create(client, service, project, lines)
    assert refs(client, project, Labeled=False) == ["none.png"]
    assert refs(client, project, Labeled=True) == ["old.png", "script.png", "a%_b.png"]
    assert refs(client, project, AnomalyClass="anomaly") == ["old.png"]
    assert refs(client, project, AnomalyClass="normal") == ["script.png", "a%_b.png"]
    assert refs(client, project, SourceRefContains="%_") == ["a%_b.png"]
    assert refs(client, project, SourceRefContains="RIPT") == []
    moment = datetime(2021, 6, 1, 10, tzinfo=UTC)
    assert refs(client, project, BeforeCreationDate=moment) == []
    assert refs(client, project, BeforeCreationDate="2021-06-01T10:00:01Z") == ["old.png"]
    assert "old.png" not in refs(client, project, AfterCreationDate=moment)
    later = datetime(2022, 8, 22, 20, 52, 51, tzinfo=UTC)
    assert refs(client, project, AfterCreationDate=later) == ["script.png", "a%_b.png", "none.png"]
    with pytest.raises(client.exceptions.ValidationException, match="anomalyClass"):
        refs(client, project, AnomalyClass="odd")
    with pytest.raises(client.exceptions.ValidationException, match="sourceRefContains"):
        refs(client, project, SourceRefContains=" ")


def test_update_merges_by_source_ref(service: Service, client: Any, project: str) -> None:
    make_dataset(client, service, project, [line(f"{REF}/1"), line(f"{REF}/2")], "train")
    changed, new = line(f"{REF}/1", "anomaly"), line(f"{REF}/3", None)
    described = update(client, project, f"{changed}\n{new}\n".encode())
    assert described["Status"] == "UPDATE_COMPLETE"
    assert described["ImageStats"] == {"Total": 3, "Labeled": 2, "Normal": 1, "Anomaly": 1}
    assert [json.loads(changed), json.loads(line(f"{REF}/2")), json.loads(new)] == entries(
        client, project
    )
    assert described["LastUpdatedTimestamp"] > described["CreationTimestamp"]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("nonsense", "line 2: The line is not valid JSON"),
        (line("s3://other-bucket/1"), "line 2: other-bucket is not the other images' bucket"),
        ("\udcff", "line 2: "),
    ],
)
def test_bad_update_changes_nothing(
    service: Service, client: Any, project: str, bad: str, problem: str
) -> None:
    make_dataset(client, service, project, [line(f"{REF}/1")], "train")
    changes = f"{line(f'{REF}/2')}\n{bad}\n".encode(errors="surrogateescape")
    described = update(client, project, changes)
    assert described["Status"] == "UPDATE_FAILED_ROLLBACK_COMPLETE"
    assert problem in described["StatusMessage"]
    assert refs(client, project) == ["1"]
    assert update(client, project, line(f"{REF}/2").encode())["Status"] == "UPDATE_COMPLETE"


def test_changes_have_a_limit(client: Any, project: str) -> None:
    client.create_dataset(ProjectName=project, DatasetType="train")
    with pytest.raises(client.exceptions.ValidationException, match="changes"):
        update(client, project, b"x" * (10 * 1024 * 1024 + 1))
    with pytest.raises(client.exceptions.ValidationException, match="changes"):
        update(client, project, b"")


def test_limits(start: Callable[..., Service]) -> None:
    limits = {"train_images": 3, "manifest_bytes": 2000, "anomaly_types": 1}
    service = start(limits=limits)
    client = service.client()
    client.create_project(ProjectName="p")
    lines = [line(f"{REF}/{n}", None) for n in range(4)]
    assert "more than 3 images" in create(client, service, "p", lines)["StatusMessage"]
    client.delete_dataset(ProjectName="p", DatasetType="train")
    long = line(f"{REF}/1", note="x" * 2000)
    assert "larger than 2000 bytes" in create(client, service, "p", [long])["StatusMessage"]
    client.delete_dataset(ProjectName="p", DatasetType="train")
    masked = [line(f"{REF}/1", "anomaly", mask=f"{REF}/1"), line(f"{REF}/2", mask=f"{REF}/2")]
    masked[1] = masked[1].replace("cracked", "stained")
    described = create(client, service, "p", masked)
    assert "more than 1 anomaly types" in described["StatusMessage"]
    client.delete_dataset(ProjectName="p", DatasetType="train")
    make_dataset(client, service, "p", lines[:2], "train")
    changes = "\n".join([*lines[:1], line(f"{REF}/a"), line(f"{REF}/b")]).encode()
    described = update(client, "p", changes)
    assert described["Status"] == "UPDATE_FAILED_ROLLBACK_COMPLETE"
    assert update(client, "p", "\n".join(lines[:3]).encode())["Status"] == "UPDATE_COMPLETE"


def test_types_of_all_updates_count_together(start: Callable[..., Service]) -> None:
    service = start(limits={"anomaly_types": 3})
    client = service.client()
    client.create_project(ProjectName="p")
    client.create_dataset(ProjectName="p", DatasetType="train")

    def changed(ref: str, *types: str) -> str:
        document = json.loads(line(f"{REF}/{ref}.png", "anomaly", mask=f"{REF}/{ref}.mask.png"))
        document["anomaly-mask-ref-metadata"]["internal-color-map"] = {
            str(number): {"class-name": name, "hex-color": f"#{number:06X}"}
            for number, name in enumerate(types)
        }
        described = update(client, "p", json.dumps(document).encode())
        return f"{described['Status']}: {described['StatusMessage']}"

    assert changed("1", "a", "b").startswith("UPDATE_COMPLETE")
    assert changed("2", "b", "c").startswith("UPDATE_COMPLETE")
    refused = changed("3", "c", "d")
    assert refused.startswith("UPDATE_FAILED_ROLLBACK_COMPLETE: Nothing was changed: more than 3")
    assert len(entries(client, "p")) == 2
    assert changed("1", "d").startswith("UPDATE_COMPLETE")  # a and the first b go
    assert changed("3", "b", "c", "d").startswith("UPDATE_COMPLETE")


def test_many_at_once(service: Service, client: Any, project: str) -> None:
    make_dataset(client, service, project, [line(f"{REF}/x")], "train")
    outcomes: list[str] = []

    def change(number: int) -> None:
        try:
            client.update_dataset_entries(
                ProjectName=project,
                DatasetType="train",
                Changes=line(f"{REF}/{number}").encode(),
            )
            outcomes.append("taken")
        except client.exceptions.ConflictException:
            outcomes.append("busy")

    threads = [threading.Thread(target=change, args=[n]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    described = dataset_done(client, project)
    assert described["ImageStats"]["Total"] == 1 + outcomes.count("taken")
    assert len(outcomes) == 8
