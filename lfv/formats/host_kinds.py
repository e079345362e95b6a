"""Names of the kinds of hosts, in a module that `lfv --help` can import without boto3."""

LOOKOUTVISION = "lookoutvision"
SAGEMAKER = "sagemaker"
#: A batch transform job of SageMaker.
BATCH_JOB = "sagemaker-batch"
EDGE = "edge"
