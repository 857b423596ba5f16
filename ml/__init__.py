"""The machine-learning pipeline: corpora, training, evaluation, export. PyTorch lives here only.

`ml` meets the service only through `models/audio/latest.{onnx,json}`.
"""
