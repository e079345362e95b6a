"""Users' ONNX files: a backbone beside the engine's own features, or a detector of their own.

exported_onnx  makes one ONNX file of what an exporter wrote
anomalib_transforms  what anomalib does with an image before its network, as part of that file
graph_edits    small changes of a graph
inspection     checks a file without running it
trial          runs it once, in a process with limits of time and memory
acceptance     both, and what the file is then taken for
runner         from pixels to the model's outputs
backbone       a backbone, as a model keeps it
detector       a detector as a model
recalibration  from a detector and labelled images to a model version
plugin         what the engine's core asks of this package
"""
