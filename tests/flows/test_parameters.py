"""What the form on the Prefect page sends, and what deployments of earlier releases send."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.utilities.schema_tools import validate

from flows.inspect_images import inspect_images
from flows.parameters import HostOptions, PolicyFields
from lfv.client.errors import PolicyError
from lfv.client.policy import Policy

#: What the form sends: every field that was shown, empty ones too.
FORM: dict[str, Any] = {
    "name": "two classes",
    "default": {
        "classification": {"min_confidence": 0.7},
        "coverage": {
            "limits": [
                {"anomaly_type": "scratch", "largest_area": 0.01},
                {"anomaly_type": "*", "largest_area": 0.1},
            ],
            "min_confidence": 0,
        },
        "anomaly_types": None,
        "combine": "any",
        "review": {"normal_below": 0.9, "anomalous_from": None, "disagreement": False},
    },
    "class_attribute": "product",
    "classes": [{"class_name": "A", "anomaly_types": {"max_types": 2}, "combine": "any"}],
    "unknown_class": "review",
}
#: The same as a policy file has it.
POLICY: dict[str, Any] = {
    "version": 2,
    "name": "two classes",
    "default": {
        "classification": {"min_confidence": 0.7},
        "coverage": {"limits": {"scratch": 0.01, "*": 0.1}},
        "review": {"normal_below": 0.9},
    },
    "class_attribute": "product",
    "classes": {"A": {"anomaly_types": {"max_types": 2}}},
    "unknown_class": "review",
}


@pytest.mark.parametrize("given", [FORM, POLICY], ids=["the form", "a mapping"])
def test_a_policy_is_the_same_from_fields_and_from_a_mapping(given: dict[str, Any]) -> None:
    parameters = {"source": "lot", "project": "parts", "policy": given}
    assert validate(parameters, inspect_images.parameters.model_dump()) == []
    policy = inspect_images.validate_parameters(parameters)["policy"]
    assert Policy.from_dict(policy.policy()).digest == Policy.from_dict(POLICY).digest


def test_every_field_of_a_policy_is_in_the_form() -> None:
    shown = PolicyFields.model_json_schema()
    names = {name for model in [shown, *shown["$defs"].values()] for name in model["properties"]}
    known = Policy.model_json_schema()
    for model in [known, *known["$defs"].values()]:
        assert set(model["properties"]) - names <= {"version"}


def test_a_policy_file_is_a_parameter_as_before() -> None:
    parameters = {"source": "lot", "project": "parts", "policy": "/plant/policy.yaml"}
    assert validate(parameters, inspect_images.parameters.model_dump()) == []
    assert inspect_images.validate_parameters(parameters)["policy"] == "/plant/policy.yaml"


def test_a_repeated_and_an_unknown_name_are_refused() -> None:
    limit = {"anomaly_type": "scratch", "largest_area": 0.5}
    twice = PolicyFields.model_validate({"default": {"coverage": {"limits": [limit, limit]}}})
    with pytest.raises(ValueError, match="'scratch' twice"):
        twice.policy()
    misspelt = PolicyFields.model_validate({"default": {"clasification": {"min_confidence": 1}}})
    with pytest.raises(PolicyError, match="clasification"):
        Policy.from_dict(misspelt.policy())


def test_options_of_a_host_that_were_left_empty_are_left_out() -> None:
    form = {"instance_type": "ml.m5.large", "role_arn": "", "shared_memory": None, "later": "1"}
    assert HostOptions.model_validate(form).options() == {
        "instance_type": "ml.m5.large",
        "later": "1",
    }
