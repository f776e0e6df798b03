"""Other programs that do the same work, measured in the same run.

`onnxruntime` and `openvino` are what one writes in Python without this project: OpenCV decodes and resizes, NumPy
normalises, the library runs the bundle's ONNX file, NumPy and OpenCV make detections and full-size masks of its
outputs. `paddlex` is PaddleX itself, in a process of its own environment, on the model that it exported. `bf16` is the
bundle itself, in this precision.
"""

ONNXRUNTIME, OPENVINO, PADDLEX, BF16 = "onnxruntime", "openvino", "paddlex", "bf16"
PEERS = (ONNXRUNTIME, OPENVINO, PADDLEX, BF16)
