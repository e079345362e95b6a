"""From CreateProject to StopModel with awslabs' SDK: ``BUCKET PROJECT IMAGE``.

Addresses come from AWS_ENDPOINT_URL_LOOKOUTVISION and AWS_ENDPOINT_URL_S3. The SDK's own waits
sleep a minute at a time, so waiting for training and hosting is done here.
"""

import json
import sys
import time

from lookoutvision.lookoutvision import LookoutForVision
from lookoutvision.manifest import Manifest

bucket, project, image = sys.argv[1:]
vision = LookoutForVision(project_name=project)
assert vision.create_project()
manifest = Manifest(bucket=bucket, s3_path="images/", datasets=["training"])
pushed = manifest.push_manifests()
datasets = vision.create_datasets(pushed, wait=True)
fitted = vision.fit(output_bucket=bucket, model_prefix="from-awslabs/", wait=False)


def wait(busy):
    while True:
        model = vision.lv.describe_model(ProjectName=project, ModelVersion="1")
        status = model["ModelDescription"]["Status"]
        if status != busy:
            return status
        time.sleep(0.2)


trained = wait("TRAINING")
deployed = vision.deploy(min_inf_units=1, model_version="1", wait=False)
hosted = wait("STARTING_HOSTING")
predicted = vision.predict(local_file=image, content_type="image/png")
batch = vision.batch_predict(
    model_version="1",
    input_bucket=bucket,
    input_prefix="images/training/normal",
    output_bucket=bucket,
    output_prefix="predictions/",
    content_type="image/png",
)
stopped = vision.stop_model(model_version="1", wait=True)
removed = vision.update_datasets(pushed, wait=True)
print(  # noqa: T201
    "RESULT "
    + json.dumps(
        {
            "datasets": {kind: told["Status"] for kind, told in datasets.items()},
            "fitted": fitted["status"],
            "trained": trained,
            "deployed": deployed["status"],
            "hosted": hosted,
            "anomalous": predicted["IsAnomalous"],
            "batch": batch["status"],
            "stopped": stopped["Status"],
            "renewed": {kind: told["Status"] for kind, told in removed.items()},
        }
    )
)
