"""Runs our graphs in another runtime, one request a line.

worker.py RUNTIME PRECISION THREADS FOLDER

RUNTIME is onnxruntime or openvino, FOLDER what the program `peers` wrote. Answers: `version`; `first` (encode and decode
one box: the mask's area); `encode`, `decode1`, `decode16` (milliseconds); `masks FILE` (the bits of the masks of every box
of every picture, in FILE); `peak` (peak memory in MB).
"""
import os
import sys
import time
from pathlib import Path

import numpy as np

# The pipe is for answers only: whatever a library prints goes to standard error.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

runtime, precision, threads, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])


class OnnxRuntime:
    """Both graphs as they are: it knows model-local functions."""

    def __init__(self):
        import onnxruntime

        self.version = onnxruntime.__version__
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # As every other runtime here: one image at a time is known beforehand.
        options.add_free_dimension_override_by_name("B", 1)
        session = lambda name: onnxruntime.InferenceSession(folder / name, options, providers=["CPUExecutionProvider"])
        self.encoder, self.decoder = session("encoder.onnx"), session("decoder.onnx")

    def encode(self, image):
        return self.encoder.run(None, {"image": image})[0]

    def decode(self, embedding, boxes):
        return self.decoder.run(None, {"embedding": embedding, "boxes": boxes})[0]


class OpenVino:
    """The graphs without functions; int8 has the encoder that quantize.py wrote."""

    def __init__(self):
        import openvino

        self.version = openvino.__version__.split("-")[0]
        self.core = openvino.Core()
        quantized, rest = "int8" in precision, "f32" if precision in ("f32", "int8") else "bf16"
        self.config = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": rest,
        }
        model = self.core.read_model(folder / ("encoder.int8.xml" if quantized else "encoder.inlined.onnx"))
        model.reshape([1, 3, 256, 256])
        self.encoder = self.core.compile_model(model, "CPU", self.config).create_infer_request()
        self.decoders = {}
        self.decoder(1)

    def decoder(self, count):
        """The decoder compiled for this many boxes, when it is first asked for."""
        if count not in self.decoders:
            model = self.core.read_model(folder / "decoder.inlined.onnx")
            model.reshape({"embedding": [1, 256, 64, 64], "boxes": [count, 4]})
            self.decoders[count] = self.core.compile_model(model, "CPU", self.config).create_infer_request()
        return self.decoders[count]

    def encode(self, image):
        self.encoder.infer([image])
        return self.encoder.get_output_tensor(0).data

    def decode(self, embedding, boxes):
        request = self.decoder(len(boxes))
        request.infer([embedding, boxes])
        return request.get_output_tensor(0).data


def floats(name, *shape):
    return np.fromfile(folder / name, np.float32).reshape(shape)


network = {"onnxruntime": OnnxRuntime, "openvino": OpenVino}[runtime]()
images = [floats(f"image-{i}.f32", 1, 3, 256, 256) for i in range(len(list(folder.glob("image-*.f32"))))]
boxes = [floats(f"boxes-{i}.f32", -1, 4) for i in range(len(images))]
batch = floats("batch.f32", -1, 4)
embedding = None


def masks(path):
    with open(path, "wb") as file:
        for image, prompts in zip(images, boxes):
            embedding = network.encode(image).copy()
            for box in prompts:
                file.write(np.packbits(network.decode(embedding, box[None]) > 0).tobytes())
    return "ok"


def first():
    return int((network.decode(network.encode(images[0]), boxes[0][:1]) > 0).sum())


def timed(run, *arguments):
    start = time.perf_counter()
    run(*arguments)
    return (time.perf_counter() - start) * 1e3


def answer(request):
    global embedding
    match request.split(" ", 1):
        case ["version"]:
            return network.version
        case ["first"]:
            return first()
        case ["peak"]:
            line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
            return int(line.split()[1]) / 1024
        case ["masks", path]:
            return masks(path)
        case ["encode"]:
            return timed(network.encode, images[0])
        case ["decode1" | "decode16"]:
            if embedding is None:
                embedding = network.encode(images[0]).copy()
            return timed(network.decode, embedding, batch[:1] if request == "decode1" else batch)
    sys.exit(f"worker.py: unknown request {request}")


print("ready", file=answers)
for line in sys.stdin:
    print(answer(line.strip()), file=answers)
