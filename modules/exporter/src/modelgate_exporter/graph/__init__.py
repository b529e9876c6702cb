"""Fitted pipelines as ONNX graphs: each step by operators, in double precision."""
