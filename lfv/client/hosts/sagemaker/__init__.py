"""A model of SageMaker's "Computer Vision Defect Detection", the successor of Lookout for Vision.

source.py     the resource that a model version names
account.py    calls to the control plane; the tags of resources that lfv created
answers.py    parses the answers of endpoints
failures.py   translates SageMaker's errors
host.py       the ModelHost
resources.py  creates the parts of an endpoint or job
batch.py      a batch transform job as a ModelHost
models.py     the models of an account
training.py   a training job and its manifest
orphans.py    resources left in an account, found by their tags
"""

from lfv.client.hosts.sagemaker.host import IMAGE_LIMITS, SageMakerHost, endpoint_name_of

__all__ = ["IMAGE_LIMITS", "SageMakerHost", "endpoint_name_of"]
