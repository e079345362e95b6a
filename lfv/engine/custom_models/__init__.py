"""Users' ONNX files: a backbone in addition to the engine's features, or a complete detector.

exported_onnx        merges an exporter's files into one ONNX file
anomalib_transforms  adds anomalib's transform of images to that file
graph_edits          small changes to a graph
inspection           checks a file without running it
trial                runs it in a process with limits on time and memory
acceptance           inspects and tries a file, and selects its outputs
runner               runs a model on pixels
backbone             a backbone as stored in a model
detector             a detector as a model
recalibration        makes a model version from a detector and labelled images
plugin               the interface to the engine's core
"""
