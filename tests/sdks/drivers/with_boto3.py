"""From CreateProject to StopModel with boto3: ``ENDPOINT BUCKET PROJECT MANIFEST IMAGE...``."""

import json
import sys
import time

import boto3
import botocore

endpoint, bucket, project, manifest, *images = sys.argv[1:]
client = boto3.client("lookoutvision", endpoint_url=endpoint)


def wait(call, busy, **names):
    while True:
        answer = next(v for k, v in call(**names).items() if k != "ResponseMetadata")
        if answer["Status"] not in busy:
            return answer
        time.sleep(0.1)


client.create_project(ProjectName=project)
source = {"GroundTruthManifest": {"S3Object": {"Bucket": bucket, "Key": manifest}}}
client.create_dataset(ProjectName=project, DatasetType="train", DatasetSource=source)
dataset = {"ProjectName": project, "DatasetType": "train"}
assert wait(client.describe_dataset, ["CREATE_IN_PROGRESS"], **dataset)["ImageStats"]["Total"]
pages = client.get_paginator("list_dataset_entries").paginate(
    **dataset, PaginationConfig={"PageSize": 3}
)
entries = [json.loads(text) for page in pages for text in page["DatasetEntries"]]
output = {"S3Location": {"Bucket": bucket, "Prefix": "from-boto3/"}}
version = client.create_model(ProjectName=project, OutputConfig=output)["ModelMetadata"][
    "ModelVersion"
]
model = {"ProjectName": project, "ModelVersion": version}
trained = wait(client.describe_model, ["TRAINING"], **model)
assert trained["Status"] == "TRAINED", trained
client.start_model(**model, MinInferenceUnits=1, MaxInferenceUnits=2)
assert wait(client.describe_model, ["STARTING_HOSTING"], **model)["Status"] == "HOSTED"
verdicts = []
for image in images:
    kind = "image/png" if image.endswith(".png") else "image/jpeg"
    with open(image, "rb") as file:  # noqa: PTH123
        answer = client.detect_anomalies(**model, Body=file, ContentType=kind)
    verdicts.append(answer["DetectAnomalyResult"]["IsAnomalous"])
errors = []
for call, names in (
    (client.describe_project, {"ProjectName": "not-there"}),
    (client.start_model, {**model, "MinInferenceUnits": 1}),
    (client.detect_anomalies, {**model, "Body": b"x", "ContentType": "image/png"}),
):
    try:
        call(**names)
    except client.exceptions.ClientError as error:
        errors.append(type(error).__name__)
client.stop_model(**model)
assert wait(client.describe_model, ["STOPPING_HOSTING"], **model)["Status"] == "TRAINED"
client.delete_model(**model)
while client.list_models(ProjectName=project)["Models"]:
    time.sleep(0.1)
client.delete_dataset(**dataset)
client.delete_project(ProjectName=project)
print(  # noqa: T201
    json.dumps(
        {
            "botocore": botocore.__version__,
            "entries": len(entries),
            "performance": trained["Performance"],
            "verdicts": verdicts,
            "errors": errors,
        }
    )
)
