"""The Lookout for Vision API as botocore data, and the boto3 client made from it.

The service model under ``data/`` states the facts of API version 2020-11-20 (operations, paths,
members, constraints, errors); boto3 releases from 1.41 on no longer carry one. It is also what
``lfv.server`` decodes requests and encodes answers with, so both ends speak from one description.
"""

from lfv.client.api.client import lookoutvision_client
from lfv.client.api.model import API_VERSION, DATA_PATH, SERVICE_NAME, service_model

__all__ = ["API_VERSION", "DATA_PATH", "SERVICE_NAME", "lookoutvision_client", "service_model"]
