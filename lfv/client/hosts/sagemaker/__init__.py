"""A model of SageMaker's "Computer Vision Defect Detection", the successor of Lookout for Vision.

source.py    which model is meant: a model, a model package, a training job or an endpoint
account.py   the calls to the control plane, and the tags by which ours are known
answers.py   what an endpoint answers
failures.py  what its errors mean
host.py      the ModelHost
creating.py  what is made for an endpoint or a job
batch.py     a batch transform job, as a ModelHost that takes no single images
models.py    the models of an account
training.py  one training job, and the manifest that it wants
orphans.py   what is left in an account, found by its tags
"""

from lfv.client.hosts.sagemaker.host import IMAGE_LIMITS, SageMakerHost, endpoint_name_of

__all__ = ["IMAGE_LIMITS", "SageMakerHost", "endpoint_name_of"]
