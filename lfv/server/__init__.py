"""The model service: the Lookout for Vision API, version 2020-11-20, on this machine.

    service, options, __main__     put it together, run it
    transport, bodies, sigv4, api  from a connection's bytes to an operation, and who may
    protocol/                      requests and answers by the service model in lfv.client.api
    operations/                    what each operation does, by resource
    state/, database, migrations   what is known, in SQLite
    states                         the state machines, as data
    jobs/, work, threads           what goes on after an answer: datasets, training, packaging
    hosting/, detection            inference units, and the way of an image to one
    engine/                        learns and predicts; knows nothing of the rest
    buckets, manifests, images     the world outside: S3 or folders, JSON lines, image headers
    archive, imports               models on their way from one service to another
    home, embedded, metrics        the state folder, ending with the last client, Prometheus

Reached over HTTP only; imports nothing of the pipeline but the API model.
"""
