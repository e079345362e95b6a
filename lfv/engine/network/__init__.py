"""A small network of convolutions, trained where torch is installed, and kept where it helps.

availability   whether torch is there; one sentence where it is not
design         what the network computes, written once for training and for export
learning       the only module that imports torch: trains a design's weights
graph          a trained design as an ONNX graph, which needs no torch
stored         the network's part in a model: its graph, and how it speaks with our own
choosing       whether verdicts and masks are better with it
trial          one training's trial of it, from folds to decision
"""
