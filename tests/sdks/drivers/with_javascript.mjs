// From CreateProject to StopModel with the JavaScript SDK: ENDPOINT BUCKET PROJECT MANIFEST IMAGE
import { createReadStream, readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [folder, endpoint, bucket, ProjectName, manifest, image] = process.argv.slice(2);
const require = createRequire(folder + "/");
const sdk = require("@aws-sdk/client-lookoutvision");

const client = new sdk.LookoutVisionClient({ endpoint, region: "us-east-1", maxAttempts: 1 });
const send = (name, members) => client.send(new sdk[`${name}Command`](members));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function settled(name, members, member, busy) {
  for (;;) {
    const described = (await send(name, members))[member];
    if (!busy.includes(described.Status)) return described;
    await sleep(100);
  }
}

const project = await send("CreateProject", { ProjectName });
const dataset = { ProjectName, DatasetType: "train" };
await send("CreateDataset", {
  ...dataset,
  DatasetSource: { GroundTruthManifest: { S3Object: { Bucket: bucket, Key: manifest } } },
});
const read = await settled("DescribeDataset", dataset, "DatasetDescription", ["CREATE_IN_PROGRESS"]);
let entries = 0;
for await (const page of sdk.paginateListDatasetEntries({ client, pageSize: 3 }, { ...dataset })) {
  entries += page.DatasetEntries.length;
}
const changes = await send("ListDatasetEntries", { ...dataset, AfterCreationDate: new Date(0) });
await send("UpdateDatasetEntries", {
  ...dataset,
  Changes: new TextEncoder().encode(changes.DatasetEntries[0]),
});
await settled("DescribeDataset", dataset, "DatasetDescription", ["UPDATE_IN_PROGRESS"]);
const made = await send("CreateModel", {
  ProjectName,
  OutputConfig: { S3Location: { Bucket: bucket, Prefix: "from-javascript/" } },
  Tags: [{ Key: "made by", Value: "JavaScript" }],
});
const ResourceArn = made.ModelMetadata.ModelArn;
const model = { ProjectName, ModelVersion: made.ModelMetadata.ModelVersion };
const trained = await settled("DescribeModel", model, "ModelDescription", ["TRAINING"]);
const tags = await send("ListTagsForResource", { ResourceArn });
await send("UntagResource", { ResourceArn, TagKeys: ["made by"] });
await send("StartModel", { ...model, MinInferenceUnits: 1 });
const hosted = await settled("DescribeModel", model, "ModelDescription", ["STARTING_HOSTING"]);
const ContentType = image.endsWith(".png") ? "image/png" : "image/jpeg";
const answer = await send("DetectAnomalies", { ...model, Body: readFileSync(image), ContentType });
// A stream cannot be hashed before it is sent, so its body is not signed.
const Body = createReadStream(image);
const streamed = await send("DetectAnomalies", { ...model, Body, ContentType });
const errors = [];
for (const [name, members] of [
  ["DescribeProject", { ProjectName: "not-there" }],
  ["StartModel", { ...model, MinInferenceUnits: 1 }],
  ["DetectAnomalies", { ...model, Body: Buffer.from("x"), ContentType }],
]) {
  try {
    await send(name, members);
  } catch (error) {
    errors.push({
      name: error.name,
      typed: error instanceof sdk[error.name],
      status: error.$metadata.httpStatusCode,
      message: error.message ?? error.Message,
      resource: error.ResourceId ?? null,
    });
  }
}
await send("StopModel", model);
const stopped = await settled("DescribeModel", model, "ModelDescription", ["STOPPING_HOSTING"]);
console.log(
  JSON.stringify({
    arn: project.ProjectMetadata.ProjectArn,
    created: project.ProjectMetadata.CreationTimestamp instanceof Date,
    dataset: read.Status,
    entries,
    trained: trained.Status,
    f1: trained.Performance.F1Score,
    tags: tags.Tags,
    hosted: hosted.Status,
    anomalous: answer.DetectAnomalyResult.IsAnomalous,
    streamed: streamed.DetectAnomalyResult.IsAnomalous,
    mask: Buffer.from(answer.DetectAnomalyResult.AnomalyMask ?? []).subarray(1, 4).toString(),
    errors,
    stopped: stopped.Status,
  }),
);
