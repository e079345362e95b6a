"""The client that current boto3 builds from our service model."""

from __future__ import annotations

import os
import time
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointProviderError, NoRegionError

from lfv.client.api import DATA_PATH, lookoutvision_client, service_model
from tests.support.waiting import stretched


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


def test_loopback_needs_no_configuration() -> None:
    began = time.monotonic()
    for url in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1"):
        client = lookoutvision_client(url)
        assert client.meta.endpoint_url == url
        assert client.meta.region_name == "us-east-1"
        assert client._request_signer._credentials.access_key == "local"
        client.close()
    assert time.monotonic() - began < stretched(5)  # no request for an instance's role


def test_other_endpoints_need_credentials() -> None:
    client = lookoutvision_client(
        "http://192.0.2.1:1", "eu-west-1", session=boto3.Session("key", "secret")
    )
    assert client._request_signer._credentials.access_key == "key"
    assert client.meta.region_name == "eu-west-1"
    client.close()


def test_region_without_an_endpoint() -> None:
    session = boto3.Session("key", "secret")
    client = lookoutvision_client(region_name="eu-west-1", session=session)
    assert client.meta.endpoint_url == "https://lookoutvision.eu-west-1.amazonaws.com"
    client.close()
    with pytest.raises(NoRegionError):
        lookoutvision_client(session=session)


def test_fips_and_dual_stack() -> None:
    from botocore.config import Config

    session = boto3.Session("key", "secret", region_name="us-east-1")
    client = lookoutvision_client(session=session, config=Config(use_fips_endpoint=True))
    assert client.meta.endpoint_url == "https://lookoutvision-fips.us-east-1.amazonaws.com"
    client.close()
    client = lookoutvision_client(session=session, config=Config(use_dualstack_endpoint=True))
    with pytest.raises(EndpointProviderError, match="no dual-stack"):
        client.list_projects()
    client.close()


def test_it_is_an_ordinary_client() -> None:
    client = lookoutvision_client("http://127.0.0.1:1")
    assert len(service_model().operation_names) == 22
    paginated = [n for n in service_model().operation_names if n.startswith("List")]
    for name in ("list_dataset_entries", "list_models", "list_projects"):
        assert client.can_paginate(name)
    assert len(paginated) == 5
    assert issubclass(client.exceptions.ThrottlingException, client.exceptions.ClientError)
    client.close()


def test_model_is_found_through_the_data_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other code finds it with AWS_DATA_PATH."""
    monkeypatch.setenv("AWS_DATA_PATH", str(DATA_PATH))
    client: Any = boto3.Session("key", "secret").client("lookoutvision", "us-east-1")
    assert client.meta.service_model.api_version == "2020-11-20"
    client.close()
