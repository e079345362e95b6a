package lfv;

import java.net.URI;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.function.Supplier;
import software.amazon.awssdk.core.SdkBytes;
import software.amazon.awssdk.core.sync.RequestBody;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.lookoutvision.LookoutVisionClient;
import software.amazon.awssdk.services.lookoutvision.model.DetectAnomaliesResponse;
import software.amazon.awssdk.services.lookoutvision.model.LookoutVisionException;
import software.amazon.awssdk.services.lookoutvision.model.ModelStatus;
import software.amazon.awssdk.services.lookoutvision.model.ResourceNotFoundException;

/** From CreateProject to StopModel: ENDPOINT BUCKET PROJECT MANIFEST IMAGE. Prints one fact a line. */
public final class Client {

  private final LookoutVisionClient client;
  private final String project;

  private Client(LookoutVisionClient client, String project) {
    this.client = client;
    this.project = project;
  }

  public static void main(String[] arguments) throws Exception {
    try (LookoutVisionClient client =
        LookoutVisionClient.builder()
            .region(Region.US_EAST_1)
            .endpointOverride(URI.create(arguments[0]))
            .build()) {
      new Client(client, arguments[2]).run(arguments[1], arguments[3], Paths.get(arguments[4]));
    }
  }

  private void run(String bucket, String manifest, Path image) throws Exception {
    client.createProject(r -> r.projectName(project));
    client.createDataset(
        r ->
            r.projectName(project)
                .datasetType("train")
                .datasetSource(
                    s -> s.groundTruthManifest(g -> g.s3Object(o -> o.bucket(bucket).key(manifest)))));
    print("dataset", settled(this::datasetStatus, "CREATE_IN_PROGRESS"));
    String version =
        client
            .createModel(
                r ->
                    r.projectName(project)
                        .outputConfig(o -> o.s3Location(l -> l.bucket(bucket).prefix("java/"))))
            .modelMetadata()
            .modelVersion();
    print("trained", settled(() -> modelStatus(version), "TRAINING"));

    client.startModel(r -> r.projectName(project).modelVersion(version).minInferenceUnits(1));
    print("hosted", settled(() -> modelStatus(version), "STARTING_HOSTING"));
    print("from a file", detect(version, RequestBody.fromFile(image)));
    byte[] bytes = java.nio.file.Files.readAllBytes(image);
    print("from bytes", detect(version, SdkBytes.fromByteArray(bytes).asByteArray()));
    print("listed", client.listModelsPaginator(r -> r.projectName(project)).models().stream().count());
    try {
      client.describeProject(r -> r.projectName("not-there"));
    } catch (ResourceNotFoundException error) {
      print("error", error.statusCode() + " " + error.resourceType());
    }
    try {
      client.detectAnomalies(
          r -> r.projectName(project).modelVersion(version).contentType("image/png"),
          RequestBody.fromString("not an image"));
    } catch (LookoutVisionException error) {
      print("refused", error.awsErrorDetails().errorCode());
    }
    client.stopModel(r -> r.projectName(project).modelVersion(version));
    print("stopped", settled(() -> modelStatus(version), "STOPPING_HOSTING"));
  }

  private boolean detect(String version, byte[] bytes) {
    return detect(version, RequestBody.fromBytes(bytes));
  }

  private boolean detect(String version, RequestBody body) {
    DetectAnomaliesResponse answer =
        client.detectAnomalies(
            r -> r.projectName(project).modelVersion(version).contentType("image/png"), body);
    return answer.detectAnomalyResult().isAnomalous();
  }

  private String datasetStatus() {
    return client
        .describeDataset(r -> r.projectName(project).datasetType("train"))
        .datasetDescription()
        .statusAsString();
  }

  private String modelStatus(String version) {
    ModelStatus status =
        client
            .describeModel(r -> r.projectName(project).modelVersion(version))
            .modelDescription()
            .status();
    return status.toString();
  }

  private static String settled(Supplier<String> status, String busy) throws InterruptedException {
    while (true) {
      String now = status.get();
      if (!now.equals(busy)) {
        return now;
      }
      Thread.sleep(100);
    }
  }

  private static void print(String name, Object value) {
    System.out.println(name + ": " + value);
  }
}
