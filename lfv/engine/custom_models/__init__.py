"""ONNX graphs that users bring: a backbone under our heads, or a detector of their own.

inspection    what can be told of a file without running it
trial         running it once, in a process with limits of time and memory
acceptance    both, and what the graph is then taken for
graphs        from pixels to a graph's outputs
choosing      whether a backbone helps, by nested cross-validation
detector      a detector as a model
recalibrating from a detector and labelled images to a model version
"""
