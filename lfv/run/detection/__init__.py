"""Detection of a run's images: by threads, Dask workers, other flow runs or batch jobs.

detect          one batch of pending images
stream          reads and checks images, calls the model, commits answers
feed            how many images the stream and its workers receive at a time
threads         threads that share the interpreter
image_queue     images for detection; throttled ones return to it
group_commit    many answers in one transaction
attachments     what a worker process keeps open for a run
dask_workers    checks that Dask workers can share a run
shards          this process's part in a run that several flow runs share
batch           SageMaker batch transform jobs
"""
