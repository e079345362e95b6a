"""Policies in YAML and JSON: parsing and refusals."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from lfv.client.errors import PolicyError
from lfv.client.policy import Policy

EXAMPLE = """
name: cookies
class_attribute: product
default:
  classification: {min_confidence: 0.8}
  review: {normal_below: 0.7}
classes:
  premium:
    coverage:
      min_confidence: 0.5
      limits: {cracked: 0.01, "*": 0.05}
    anomaly_types: {max_types: 2}
"""


def test_yaml_and_json_are_the_same(tmp_path: Path) -> None:
    from_yaml = Policy.parse(EXAMPLE)
    (tmp_path / "p.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(from_yaml.to_dict()).encode())
    assert Policy.load(tmp_path / "p.json").digest == from_yaml.digest
    assert from_yaml.name == "cookies"


def test_digest_depends_on_every_figure() -> None:
    digests = {Policy.from_confidence(c).digest for c in (0.8, 0.81)}
    assert len(digests) == 2
    assert Policy.from_confidence(0.8).digest == Policy.from_confidence(0.8).digest


def test_digest_does_not_depend_on_how_defaults_are_written() -> None:
    short = Policy.parse("default: {coverage: {limits: {a: 0.1}}}")
    long = Policy.parse(
        "version: 2\ndefault: {coverage: {limits: {a: 0.1}, min_confidence: 0}, combine: any,"
        " review: {disagreement: false}}"
    )
    assert short.digest == long.digest
    canonical = b'{"default":{"coverage":{"limits":{"a":0.1}}},"version":2}'
    assert short.digest == hashlib.sha256(canonical).hexdigest()


def test_a_stored_policy_with_a_limit_for_the_backgrounds_other_name_is_read() -> None:
    limits = {"normal": 0.0, "crack": 0.1}
    policy = Policy.from_dict({"version": 1, "default": {"coverage": {"limits": limits}}})
    assert policy.to_dict()["default"]["coverage"]["limits"] == limits


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("- a\n- b", "not a mapping"),
        ("default: [", "line 1"),
        ("default: {}\ndefault: {}", "'default' twice, the second time on line 2"),
        ("default: {}\nclasses: {NO: {}}", "NO on line 2.*quotes"),
        ("default: {}\nclasses: {7: {}}", "7 on line 2.*quotes"),
        ("a: &x {}\nb: *x", "alias on line 2"),
        ("default: !!python/object:os.system {}", "line 1"),
        ("default: {}", "default needs"),
        ("name: x", "default is missing"),
        ("nmae: x\ndefault: {classification: {min_confidence: 1}}", "nmae is unknown"),
        ("version: 3\ndefault: {classification: {min_confidence: 1}}", "version"),
        ("default: {classification: {min_confidence: 80}}", r"min_confidence .*1 \(got 80\)"),
        ("default: {classification: {min_confidence: -0.1}}", "min_confidence"),
        ("default: {classification: {min_confidence: .nan}}", "finite"),
        ("default: {classification: {min_confidence: '0.8'}}", "should be a number"),
        ("default: {classification: {min_confidence: yes}}", "should be a number"),
        ("default: {classification: {}}", "default.classification.min_confidence is missing"),
        ("default: {coverage: {limits: {}}}", "default.coverage.limits"),
        ("default: {coverage: {limits: {a: 2}}}", "default.coverage.limits.a"),
        ("default: {coverage: {limits: {a: '1'}}}", "should be a number"),
        ("default: {coverage: {limits: {Background: 0}}}", "background is not an anomaly type"),
        ("default: {coverage: {limits: [a]}}", "default.coverage.limits"),
        ("default: {anomaly_types: {max_types: 1.5}}", "max_types"),
        ("default: {anomaly_types: {max_types: true}}", "max_types"),
        ("default: {anomaly_types: {max_types: -1}}", "max_types"),
        ("default: {anomaly_types: {max_types: 1}, combine: some}", "combine"),
        ("default: {anomaly_types: {max_types: 1}, review: {disagreement: 1}}", "disagreement"),
        ("default: &r {anomaly_types: {max_types: 1}}\nclasses: {a: {combine: any}}", "classes.a"),
        ('{"default": {}, "default": {}}', "'default' twice"),
        ('{"default": ', "line 1"),
        ("x: " + "[" * 5000, "not valid YAML"),
        ("x: '" + "y" * 300_000 + "'", "longer than"),
        ("x: \x07", "not valid YAML"),
    ],
)
def test_invalid_policies(text: str, says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        Policy.parse(text)


def test_classes_need_an_attribute() -> None:
    rules = {"classification": {"min_confidence": 0.5}}
    with pytest.raises(PolicyError, match="class_attribute"):
        Policy.from_dict({"default": rules, "classes": {"a": rules}})


def test_small_numbers_in_yaml() -> None:
    read = Policy.parse("default: {coverage: {limits: {a: 1e-3, b: 5E-4, c: .5}}}")
    assert read.default.coverage is not None
    assert read.default.coverage.limits == {"a": 0.001, "b": 0.0005, "c": 0.5}


def test_every_invalid_field_is_named() -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.parse(
            "default: {classification: {min_confidence: 2}, anomaly_types: {max_types: -1}}"
        )
    assert "min_confidence" in str(caught.value)
    assert "max_types" in str(caught.value)


def test_files_that_are_not_policies(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "bad.yaml").write_text("default: 7")
    for name in ("none", "binary", "bad.yaml", "."):
        with pytest.raises(PolicyError, match=str(tmp_path)):
            Policy.load(tmp_path / name)


def test_confidence_out_of_range() -> None:
    for confidence in (-0.1, 1.1, float("nan"), float("inf")):
        with pytest.raises(PolicyError):
            Policy.from_confidence(confidence)
