"""A small convolutional network, trained if torch is installed, and kept if it helps.

availability   checks whether torch is installed
design         the network, written once for training and for export
learning       trains a design's weights; the only module that imports torch
onnx_export    exports a trained design as an ONNX model, which needs no torch
stored         the network as stored in a model, and how its output is combined with the heads'
selection      decides whether the network improves verdicts and masks
trial          trains networks out of fold, and one on all images if it helps
plugin         the interface to the engine's core
"""
