"""The pages about this package are true: codes, columns, limits, and examples that run."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

from lfv.client import errors as client_errors
from lfv.client import retry
from lfv.client.manifests import read_manifest
from lfv.client.policy import Policy
from lfv.client.sources import DEFAULT_MAX_BYTES, SourceReader
from lfv.formats import errors
from lfv.formats.images import DEFAULT_LIMITS
from lfv.formats.manifest import columns
from lfv.formats.manifest.lines import MAX_LINE_BYTES
from lfv.formats.manifest.records import ManifestItem
from tests.client.conftest import Reply, Request, ScriptedApi
from tests.support.fake_model import FakeModel

ROOT = Path(__file__).parents[2]
MANIFESTS = (ROOT / "docs" / "manifests.md").read_text()
POLICIES = (ROOT / "docs" / "policies.md").read_text()
HOSTS = (ROOT / "docs" / "hosts.md").read_text()

ERRORS: dict[str, type] = {
    **dict(inspect.getmembers(errors, inspect.isclass)),
    **dict(inspect.getmembers(client_errors, inspect.isclass)),
}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def codes_in(page: str) -> set[str]:
    """The codes in the first cells of tables."""
    cells = re.findall(r"^\| (`[a-z0-9_`, ]+`) \|", page, re.MULTILINE)
    return {code for cell in cells for code in re.findall(r"`([a-z0-9_]+)`", cell)}


def codes_below(base: type[errors.LfvError]) -> set[str]:
    return {
        each.code
        for _, each in ERRORS.items()
        if issubclass(each, base) and not each.__subclasses__()
    }


def codes_of_lines() -> set[str]:
    """Every first argument of LineError in the source."""
    found = set()
    files = (ROOT / "lfv").glob("*/manifest*/*.py")
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Name("LineError"), args=[ast.Constant(code), *_]):
                    found.add(str(code))
    return found


def test_every_code_of_a_line_and_an_image_is_documented() -> None:
    told = codes_in(MANIFESTS)
    assert codes_of_lines() <= told
    assert codes_below(errors.ImageError) <= told
    assert codes_below(errors.SourceError) <= told
    images_and_sources = codes_below(errors.ImageError) | codes_below(errors.SourceError)
    assert told <= codes_of_lines() | images_and_sources


def test_every_code_of_a_host_is_documented() -> None:
    told = codes_in(HOSTS)
    expected = codes_below(client_errors.HostError) | codes_below(client_errors.HostingError)
    assert told == expected | {errors.ResponseInvalid.code}


def test_the_tree_of_errors_is_complete() -> None:
    tree = f"{errors.__doc__}{client_errors.__doc__}"
    for name in ERRORS:
        assert re.search(rf"\b{name}\b", tree), f"{name} is missing in the tree of errors.py"
    codes = [each.code for _, each in ERRORS.items() if issubclass(each, errors.LfvError)]
    assert len(codes) == len(set(codes))
    assert all(re.fullmatch(r"[a-z_]+", code) for code in codes)


def test_the_documented_limits_are_the_limits() -> None:
    assert MAX_LINE_BYTES == 256 * 1024
    assert "256 KiB" in MANIFESTS
    assert DEFAULT_MAX_BYTES == 32 * 1024 * 1024
    assert "32 MiB" in MANIFESTS
    limits = DEFAULT_LIMITS
    assert (limits.max_bytes, limits.min_side, limits.max_side) == (8 * 1024 * 1024, 64, 4096)
    policy = retry.RetryPolicy()
    assert f"{policy.attempts} tries within {policy.timeout:.0f} seconds" in HOSTS


def test_the_documented_columns_are_the_columns() -> None:
    plain = MANIFESTS.replace("-", "").replace("\n", " ")
    assert ", ".join(columns.SOURCE_COLUMNS) in plain
    listed = re.search(r"A column called (.*?) is the label", plain)
    assert listed is not None
    assert re.split(r", | or ", listed[1]) == list(columns.LABEL_COLUMNS)
    listed_apart = [
        set(re.split(r", | and ", names))
        for names in re.findall(r"- In (.*?), (?:1|a number|none) ", MANIFESTS.replace("\n", " "))
    ]
    apart = [columns.GOOD_COLUMNS, columns.VAGUE_COLUMNS, columns.TYPE_COLUMNS]
    assert [{name.replace("-", "") for name in names} for names in listed_apart] == apart


def test_the_example_line_is_read(tmp_path: Path) -> None:
    (line,) = blocks(MANIFESTS, "json")
    (tmp_path / "m.manifest").write_text(line)
    (item,) = list(read_manifest(str(tmp_path / "m.manifest"), SourceReader()))
    assert isinstance(item, ManifestItem)
    assert item.is_anomalous is True
    assert item.mask_colors == {"#FFFFFF": "BACKGROUND", "#2CA02C": "scratch"}
    assert item.attributes == {"serial": "A-000017", "lot": "2026-31"}


@pytest.mark.parametrize("text", blocks(POLICIES, "yaml"))
def test_the_example_policies_are_read(text: str) -> None:
    policy = Policy.parse(text)
    assert Policy.parse(json.dumps(policy.to_dict())).digest == policy.digest


def test_the_message_in_the_page_is_the_message() -> None:
    with pytest.raises(client_errors.PolicyError) as caught:
        Policy.parse("default: {coverage: {limits: {scratch: 5}}}")
    assert f"```\n{caught.value}\n```" in POLICIES


def run(code: str, **names: Any) -> None:
    exec(compile(code, "docs", "exec"), names)  # noqa: S102 - the project's own pages


def test_the_example_of_manifests_runs(
    bucket: Path, png: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (bucket / "lot-7").mkdir()
    (bucket / "lot-7" / "a.png").write_bytes(png)
    (bucket / "lot-7" / "all.manifest").write_text(
        '{"source-ref": "a.png", "serial": "A-1"}\n{"source-ref": null}\n'
    )
    (code,) = blocks(MANIFESTS, "python")
    run(code, bucket_folder=bucket)
    assert capsys.readouterr().out == (
        "1 A-1 64 64\n2 source_ref_invalid source-ref is null, not text.\n"
    )


def test_the_example_of_policies_runs() -> None:
    (code,) = blocks(POLICIES, "python")
    run(code)


def test_the_examples_of_hosts_run(
    api: ScriptedApi, png: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    model = FakeModel()

    def answer(request: Request) -> Reply:
        if request.path.endswith("/models"):
            return Reply(200, {"Models": [{"ModelVersion": "1", "Status": "TRAINED"}]})
        if request.path.endswith("/start"):
            return Reply(202, {"Status": model.start(None, "t").status})  # type: ignore[arg-type]
        if request.path.endswith("/stop"):
            return Reply(202, {"Status": model.stop("t").status})
        if request.path.endswith("/detect"):
            return Reply(200, {"DetectAnomalyResult": {"IsAnomalous": False, "Confidence": 0.75}})
        return Reply(200, {"ModelDescription": {"Status": model.status}})

    api.answer = answer
    (real,) = blocks(HOSTS, "python")
    run(real, endpoint_url=api.url, image_bytes=png)
    assert capsys.readouterr().out.splitlines()[-1].startswith("False 0.75 request-")
    assert not model.is_up
