"""Creates boto3 clients."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lfv.client.api.service_model import API_VERSION, DATA_PATH, SERVICE_NAME
from lfv.formats.loopback import is_local_name

if TYPE_CHECKING:  # boto3 takes a while to import, and the service needs only the model
    import boto3
    from botocore.config import Config
    from botocore.loaders import Loader

_LOCAL_REGION = "us-east-1"
_LOCAL_KEYS = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}


def lookoutvision_client(
    endpoint_url: str | None = None,
    region_name: str | None = None,
    *,
    session: boto3.Session | None = None,
    config: Config | None = None,
) -> Any:
    """Create a boto3 client with typed exceptions, paginators and all 22 operations.

    Credentials and region come from ``session``, or else from boto3's usual sources. The default
    region for a given endpoint is us-east-1. For a loopback endpoint without credentials, dummy
    ones are used, because the service there accepts any signature unless it was given keys.

    Raises botocore's errors, such as ``NoRegionError``, if the client cannot be created.
    """
    return aws_client(
        SERVICE_NAME,
        endpoint_url,
        region_name,
        session=session,
        config=config,
        api_version=API_VERSION,
    )


def aws_client(
    service: str,
    endpoint_url: str | None = None,
    region_name: str | None = None,
    *,
    session: boto3.Session | None = None,
    config: Config | None = None,
    api_version: str | None = None,
) -> Any:
    """Create a boto3 client of any service, by the rules of `lookoutvision_client`."""
    from botocore.config import Config

    loopback = endpoint_url is not None and is_local_name(urlsplit(endpoint_url).hostname or "")
    chosen = session or _session(ask_instance_metadata=not loopback)
    botocore_session = chosen._session  # noqa: SLF001 (boto3 has no public way to its loader)
    search_paths = botocore_session.get_component("data_loader").search_paths
    if str(DATA_PATH) not in search_paths:
        search_paths.append(str(DATA_PATH))
    if endpoint_url is not None:
        region_name = region_name or chosen.region_name or _LOCAL_REGION
    if loopback:  # a proxy could not reach this machine
        config = Config(proxies={}).merge(config) if config else Config(proxies={})
    keys = _LOCAL_KEYS if loopback and chosen.get_credentials() is None else {}
    return chosen.client(
        service,
        region_name=region_name,
        api_version=api_version,
        endpoint_url=endpoint_url,
        config=config,
        **keys,
    )


def _session(*, ask_instance_metadata: bool) -> boto3.Session:
    import boto3
    import botocore.session

    botocore_session = botocore.session.Session()
    loader = _loader(botocore_session.get_config_variable("data_path"))
    botocore_session.register_component("data_loader", loader)
    if not ask_instance_metadata:
        # Outside EC2 the metadata address does not answer, and each attempt takes a second.
        botocore_session.get_component("credential_provider").remove("iam-role")
    return boto3.Session(botocore_session=botocore_session)


@cache
def _loader(data_path: str | None) -> Loader:
    """Return the process's loader of service models.

    It is shared because a run creates three clients, each with its own session, and finding and
    parsing models is half of a client's cost.
    """
    from botocore.loaders import create_loader

    return create_loader(data_path)
