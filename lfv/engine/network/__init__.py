"""A small network of convolutions, trained where torch is installed, and kept where it helps.

availability   whether torch is installed; one sentence where it is not
design         what the network computes, written once for training and for export
learning       the only module that imports torch: trains a design's weights
onnx_export    a trained design as an ONNX model, which needs no torch
stored         the network's part in a model: its ONNX file, and its weight beside our own heads
selection      whether verdicts and masks are better with it
trial          one training's trial of it, from folds to decision
plugin         what the engine's core asks of this package
"""
