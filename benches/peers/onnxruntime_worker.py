"""Runs our ONNX graphs in onnxruntime, one request a line: encode, decode1 or decode16 in, milliseconds out.

onnxruntime_worker.py ENCODER DECODER THREADS
`rss` answers with the process's peak memory in MB.
"""
import resource
import sys
import time

import numpy as np
import onnxruntime as ort

options = ort.SessionOptions()
options.intra_op_num_threads = int(sys.argv[3])
options.inter_op_num_threads = 1
encoder, decoder = (ort.InferenceSession(p, options, providers=["CPUExecutionProvider"]) for p in sys.argv[1:3])

image = ((np.arange(3 * 256 * 256, dtype=np.uint64) * np.uint64(2654435761) >> np.uint64(13)) % np.uint64(256)).astype(np.float32)
image = (image / 255).reshape(1, 3, 256, 256)
embedding = encoder.run(None, {"image": image})[0]
x = np.arange(16, dtype=np.float32) * 8
boxes = np.stack([x, np.full(16, 40, np.float32), x + 100, np.full(16, 180, np.float32)], 1)
work = {
    "encode": lambda: encoder.run(None, {"image": image}),
    "decode1": lambda: decoder.run(None, {"embedding": embedding, "boxes": boxes[:1]}),
    "decode16": lambda: decoder.run(None, {"embedding": embedding, "boxes": boxes}),
}
print("ready", flush=True)
for line in sys.stdin:
    request = line.strip()
    if request == "rss":
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)
        continue
    start = time.perf_counter()
    work[request]()
    print((time.perf_counter() - start) * 1e3, flush=True)
