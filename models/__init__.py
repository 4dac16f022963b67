"""Data sets, training, evaluation, ONNX export and the packaged bundles."""
