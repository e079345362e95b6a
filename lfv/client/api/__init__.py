"""The Lookout for Vision API as botocore data, and a boto3 client for it.

The service model under ``data/`` describes API version 2020-11-20 (operations, paths, members,
constraints, errors); boto3 no longer includes it since 1.41. ``lfv.server`` uses the same model to
decode requests and encode answers.
"""

from lfv.client.api.client import lookoutvision_client
from lfv.client.api.service_model import API_VERSION, DATA_PATH, SERVICE_NAME, service_model

__all__ = ["API_VERSION", "DATA_PATH", "SERVICE_NAME", "lookoutvision_client", "service_model"]
