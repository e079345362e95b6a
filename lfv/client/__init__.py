"""A Lookout for Vision model, wherever it is hosted.

    api         the API's service model for botocore, and the client made from it
    hosts       places where a model lives, behind one small interface
    hosting     bringing a model up and down, and knowing that it is
    catalog     which projects and model versions there are
    refs        what references to files mean
    sources     reading what they point at (stores, s3: where it is kept)
    images      is this an image that the service can take? (image_headers: its containers)
    manifests   which images to look at
    results     what a model said about an image
    policy      from answers to verdicts
    evaluation  how good the answers were (masks: areas of anomaly types)
    training    from a labelled manifest to a model version (staging: its data)
    errors      everything that is raised

Nothing here knows Prefect or SQL. Importing this package imports none of its modules.
"""
