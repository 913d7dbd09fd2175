"""Arrays as nninteractive-client 2.6.0 packs them, for edge-demo's reader of them: nninteractive.bin, each with its length.

pip install nninteractive-client==2.6.0; python nninteractive.py FILE
"""

import struct
import sys

import blosc2
import numpy as np
from nnInteractive.inference.remote.serialization import pack_array


def noise(count):
    i = np.arange(count, dtype="i8")
    return (i * 2654435761 >> 7) % 900 - 300


def arrays():
    # Smooth and rough, constant, zeros; more than one block.
    slow = noise(40 * 64 * 64)
    yield np.repeat(slow, 50)[: 20 * 60 * 70].reshape(1, 20, 60, 70).astype("i2")
    yield (noise(9 * 50 * 60) & 255).astype("u1").reshape(1, 9, 50, 60)
    yield np.repeat(slow, 50)[: 7 * 33 * 41].reshape(1, 7, 33, 41).astype("f4")
    yield np.full((1, 5, 64, 64), 7, "f8")
    yield np.zeros((4, 5, 6), "u2")


with open(sys.argv[1], "wb") as file:
    for filters in ([blosc2.Filter.NOFILTER], [blosc2.Filter.SHUFFLE], None):
        for array in arrays():
            packed = pack_array(array, filters=filters, nthreads=1)
            file.write(struct.pack("<Q", len(packed)) + packed)
