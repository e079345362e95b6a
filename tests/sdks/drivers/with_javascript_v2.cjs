// From CreateProject to StopModel with the JavaScript SDK v2: ENDPOINT BUCKET PROJECT MANIFEST IMAGE
const { readFileSync, createReadStream } = require("node:fs");

const [folder, endpoint, bucket, ProjectName, manifest, image] = process.argv.slice(2);
const AWS = require(`${folder}/node_modules/aws-sdk`);

const client = new AWS.LookoutVision({ endpoint, region: "us-east-1", maxRetries: 0 });
const send = (name, members) => client[name](members).promise();
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function settled(name, members, member, busy) {
  for (;;) {
    const described = (await send(name, members))[member];
    if (!busy.includes(described.Status)) return described;
    await sleep(100);
  }
}

async function main() {
  await send("createProject", { ProjectName });
  const dataset = { ProjectName, DatasetType: "train" };
  await send("createDataset", {
    ...dataset,
    DatasetSource: { GroundTruthManifest: { S3Object: { Bucket: bucket, Key: manifest } } },
  });
  const read = await settled("describeDataset", dataset, "DatasetDescription", [
    "CREATE_IN_PROGRESS",
  ]);
  const made = await send("createModel", {
    ProjectName,
    OutputConfig: { S3Location: { Bucket: bucket, Prefix: "from-javascript-v2/" } },
  });
  const model = { ProjectName, ModelVersion: made.ModelMetadata.ModelVersion };
  const trained = await settled("describeModel", model, "ModelDescription", ["TRAINING"]);
  await send("startModel", { ...model, MinInferenceUnits: 1 });
  const hosted = await settled("describeModel", model, "ModelDescription", ["STARTING_HOSTING"]);
  const verdicts = [];
  for (const [Body, ContentType] of [
    [readFileSync(image), "image/png"],
    [createReadStream(image), "image/png"],
    [readFileSync(image), "binary/octet-stream"],
  ]) {
    const answer = await send("detectAnomalies", { ...model, Body, ContentType });
    verdicts.push(answer.DetectAnomalyResult.IsAnomalous);
  }
  const tags = { ResourceArn: made.ModelMetadata.ModelArn, TagKeys: ["a b", "c/d"] };
  await send("untagResource", tags);
  const error = await send("describeProject", { ProjectName: "not-there" }).catch((e) => e.code);
  await send("stopModel", model);
  const stopped = await settled("describeModel", model, "ModelDescription", ["STOPPING_HOSTING"]);
  console.log(
    JSON.stringify({
      dataset: read.Status,
      trained: trained.Status,
      hosted: hosted.Status,
      verdicts,
      error,
      stopped: stopped.Status,
    }),
  );
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
