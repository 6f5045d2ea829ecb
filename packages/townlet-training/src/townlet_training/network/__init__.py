"""The network: in torch, in numpy, and as an ONNX file."""
