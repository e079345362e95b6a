"""The model service: the Lookout for Vision API, version 2020-11-20, on this machine.

    service, options, __main__     builds the service and runs it
    http_protocol, request_body    HTTP connections and bodies, within limits
    request_origin, sigv4          where a request comes from, and its signature
    api, protocol/                 from a request to an operation's input, and its result back
    operations/                    what each operation does, by resource
    state/, database               projects, datasets, models and jobs in SQLite
    schema, migrations/            upgrades of that database
    lifecycle                      the statuses of models, datasets and jobs, and their transitions
    background, jobs/              what continues after an answer: datasets, training, packaging
    recording, daemon_threads      retried writes, and threads for that work
    edge_agent                     the same models over the protocol of the edge agent
    hosting/, detection            inference units, and the way of an image to one
    buckets, manifests             S3 or folders, and JSON lines
    archive, model_import          a packaged model as a file, and its import
    custom_models                  checks and copies the ONNX model of --backbone or --detector
    home, embedded, metrics        the state folder, ending with the last client, Prometheus

Other packages reach it over HTTP only. It imports formats, the API model, and the engine's seam.
"""
