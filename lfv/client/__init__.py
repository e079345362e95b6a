"""A Lookout for Vision model on any host: find it, train it, host it, and send it images.

    api                 the API's service model for botocore, and its client
    hosts/              the kinds of hosts behind one interface: Lookout for Vision, SageMaker, edge
    hosting             start a model and wait until it is up; stop it and wait until it is down
    catalog             projects and model versions of a host
    in_flight           the number of concurrent requests that a model can handle
    sources             reads files and objects (stores: folders, s3: buckets)
    manifests/, masks   images to inspect or train on, and their masks
    imports/            annotations in other formats, and model archives
    policy/             verdicts from answers
    training, staging   a model version from a labelled manifest, and its data in a bucket
    packaging           a model version as a portable archive
    errors, retry       what it raises, and which errors are retried

It imports neither Prefect nor SQL. Importing this package imports none of its modules.
"""
