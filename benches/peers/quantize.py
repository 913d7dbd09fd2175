"""Quantizes the encoder to 8 bits for OpenVINO, by nncf's post-training quantization.

quantize.py FOLDER OUT.xml      (FOLDER holds encoder.inlined.onnx and calibration-*.f32)

SmoothQuant and bias correction, as nncf does it for transformers. Depthwise convolutions stay as they are: they are 1% of
the work, and quantized they spoil the masks.
"""
import logging
import sys
from pathlib import Path

import nncf
import numpy as np
import openvino

folder, out = Path(sys.argv[1]), sys.argv[2]
nncf.set_log_level(logging.ERROR)
inputs = [np.fromfile(p, np.float32).reshape(1, 3, 256, 256) for p in sorted(folder.glob("calibration-*.f32"))]
model = openvino.Core().read_model(folder / "encoder.inlined.onnx")
model.reshape([1, 3, 256, 256])
quantized = nncf.quantize(
    model,
    nncf.Dataset(inputs, lambda image: {"image": image}),
    subset_size=len(inputs),
    model_type=nncf.ModelType.TRANSFORMER,
    preset=nncf.QuantizationPreset.MIXED,
    ignored_scope=nncf.IgnoredScope(types=["GroupConvolution"]),
)
openvino.save_model(quantized, out, compress_to_fp16=False)
