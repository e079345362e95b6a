"""The model service: the Lookout for Vision API, version 2020-11-20, on this machine.

    service, options, __main__     builds the service and runs it
    http_protocol, request_body    HTTP connections and bodies, within limits
    request_origin, sigv4          where a request comes from, and its signature
    api, protocol/                 decode requests, run operations and encode responses
    operations/                    what each operation does, by resource
    state/, database               projects, datasets, models and jobs in SQLite
    schema, migrations/            upgrades of that database
    lifecycle                      the statuses of models, datasets and jobs, and their transitions
    background, jobs/              work that outlasts its request: datasets, training, packaging
    recording, daemon_threads      retried writes, and threads for that work
    edge_agent                     the same models over the protocol of the edge agent
    hosting/, detection            inference units, and the dispatch of images to them
    buckets, manifests             objects in S3 or folders, and JSON lines of manifests
    archive, model_import          a packaged model as a file, and its import
    custom_models                  checks and copies the ONNX model of --backbone or --detector
    home, embedded, metrics        the state folder, exit after the last client, Prometheus

Other packages reach it over HTTP only. It imports formats, the API model, the engine's seam and,
for the training report, lfv.report.
"""
