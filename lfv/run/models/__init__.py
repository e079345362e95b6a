"""Models of the pipeline: from a training to the version that runs use.

training            trains a version through the endpoint or the embedded service
training_request    a training's options
training_records    training records of models that runs know by another name
importing           data and models of other tools become a project
packaging           a version as a file
retrain             the next version, from reviews
compare             two versions on the same images
approvals           the version that runs without one use
"""
