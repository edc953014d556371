"""The recurrent networks: built by `builder`, written as ONNX by `onnx_graph`."""
