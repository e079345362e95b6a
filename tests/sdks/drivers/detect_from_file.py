"""Sends one image file as in the developer guide: ``PROJECT VERSION FILE``."""

import mimetypes
import sys

import boto3

project, version, path = sys.argv[1:]
client = boto3.Session().client("lookoutvision")
content_type, _ = mimetypes.guess_type(path)
with open(path, "rb") as image:  # noqa: PTH123
    response = client.detect_anomalies(
        ProjectName=project, ModelVersion=version, Body=image, ContentType=content_type
    )
result = response["DetectAnomalyResult"]
print(  # noqa: T201
    f"{'anomalous' if result['IsAnomalous'] else 'normal'} ({result['Confidence']:.2%} sure)"
)
for anomaly in result.get("Anomalies", ()):
    area = anomaly["PixelAnomaly"]["TotalPercentageArea"]
    print(f"{anomaly['Name']}: {area:.1%}")  # noqa: T201
