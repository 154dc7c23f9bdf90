#!/usr/bin/env python3
"""Makes cnn_qdq.onnx and cnn_qoperator.onnx: one CNN from PyTorch, quantized by onnxruntime in its two formats.

Needs torch and onnxruntime. Prints what onnxruntime's optimizer makes of the QDQ file; quantized_test.cc holds that list.
"""
import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(3, 16, 3, padding=1)
        self.c2 = nn.Conv2d(16, 16, 3, padding=1)
        self.c3 = nn.Conv2d(16, 16, 3, padding=1)
        self.fc = nn.Linear(16, 10)

    def forward(self, x):
        x = torch.relu(self.c1(x))
        x = torch.relu(x + self.c3(torch.relu(self.c2(x))))
        x = nn.functional.max_pool2d(x, 2)
        return self.fc(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Samples(CalibrationDataReader):
    def __init__(self):
        self.left = iter([{"x": np.random.randn(1, 3, 32, 32).astype(np.float32)} for _ in range(4)])

    def get_next(self):
        return next(self.left, None)


torch.onnx.export(Cnn().eval(), (torch.randn(1, 3, 32, 32),), "cnn.onnx", input_names=["x"], dynamo=False, opset_version=17)
for form, name in ((QuantFormat.QDQ, "cnn_qdq.onnx"), (QuantFormat.QOperator, "cnn_qoperator.onnx")):
    quantize_static("cnn.onnx", name, Samples(), quant_format=form, activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8)
options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
options.optimized_model_filepath = "optimized.onnx"
ort.InferenceSession("cnn_qdq.onnx", options, providers=["CPUExecutionProvider"])
print([node.op_type for node in onnx.load("optimized.onnx").graph.node])
