"""Kinds of hosts, and their latest version: names that `lfv --help` imports without boto3."""

LOOKOUTVISION = "lookoutvision"
SAGEMAKER = "sagemaker"
#: A batch transform job of SageMaker.
BATCH_JOB = "sagemaker-batch"
EDGE = "edge"

#: The model version that stands for the approved one, else the newest.
LATEST = "latest"
