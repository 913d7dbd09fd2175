"""Checks that exported ONNX files give PyTorch's values in onnxruntime, or other files' masks.

check_onnxruntime.py GRAPHS [--tolerance T]                 (needs numpy, onnx, onnxruntime, safetensors)
check_onnxruntime.py GRAPHS --against OTHERS [--dsc 0.95]

GRAPHS is a folder that `umedsam-export onnx` wrote; the golden values are tests/data/network.safetensors. The tolerance is
relative to the values' scale. With --against, the masks are compared with those of another such folder, say in 8 bits
with those in f32: the worst DSC of the golden boxes must not be below --dsc.
"""
import argparse
import sys
from pathlib import Path

import numpy as np

import onnx
import onnxruntime as ort
from safetensors.numpy import load_file

parser = argparse.ArgumentParser()
parser.add_argument("graphs", type=Path)
parser.add_argument("--tolerance", type=float, default=1e-4)
parser.add_argument("--against", type=Path)
parser.add_argument("--dsc", type=float, default=0.95)
arguments = parser.parse_args()
golden = load_file(Path(__file__).parent / "data/network.safetensors")
i = np.arange(256 * 256 * 3, dtype=np.uint64)
y, x, c = i // np.uint64(768), i // np.uint64(3) % np.uint64(256), i % np.uint64(3)
noise = (i * np.uint64(2654435761) % np.uint64(2**32)) >> np.uint64(27)
disc = ((x.astype(np.int64) - 120) ** 2 + (y.astype(np.int64) - 90) ** 2 < 50**2).astype(np.uint64)
picture = (x // np.uint64(4) + y // np.uint64(8) + disc * np.uint64(90) + c * np.uint64(20) + noise).astype(np.uint8)
picture = picture.reshape(256, 256, 3)
image = ((picture - picture.min()) / float(picture.max() - picture.min())).astype(np.float32).transpose(2, 0, 1)[None]



def run(graphs):
    sessions = []
    for name in ("encoder.onnx", "decoder.onnx"):
        onnx.checker.check_model(onnx.load(graphs / name), full_check=True)
        sessions.append(ort.InferenceSession(graphs / name, providers=["CPUExecutionProvider"]))
    embedding = sessions[0].run(None, {"image": image})[0]
    return embedding, *sessions[1].run(None, {"embedding": embedding, "boxes": golden["boxes"]})


embedding, logits, iou = run(arguments.graphs)
if arguments.against:
    masks, others = logits > 0, run(arguments.against)[1] > 0
    dsc = [2 * (a & b).sum() / max(1, a.sum() + b.sum()) for a, b in zip(masks, others)]
    print("DSC of the masks:", " ".join(f"{d:.4f}" for d in dsc))
    sys.exit(int(min(dsc) < arguments.dsc))
sample = lambda t, n: t.reshape(-1)[:: max(1, t.size // n)]
worst = 0.0
for name, found in [("embedding", sample(embedding, 4000)), ("logits", np.stack([sample(z, 1000) for z in logits])), ("iou", iou)]:
    difference = np.abs(found - golden[name]).max()
    relative = difference / np.abs(golden[name]).max()
    worst = max(worst, relative)
    print(f"{name}: largest difference {difference:.2e}, {relative:.2e} of the scale")
sys.exit(int(worst > arguments.tolerance))
