"""Small NPZ files written by numpy, for core/tests/npz.rs.

npz.py core/tests/data
"""
import sys
from pathlib import Path

import numpy as np

out = Path(sys.argv[1])
rng = np.random.default_rng(7)
gray = rng.integers(0, 256, (5, 7), dtype=np.uint8)
np.savez(out / "plain.npz", imgs=np.repeat(gray[..., None], 3, 2), boxes=np.array([[1, 2, 4, 3], [0, 0, 6, 4]]),
         gts=(gray > 100).astype(np.uint8))
# The same values in other clothes: Fortran order, big-endian 16 bits, float boxes, compressed.
np.savez_compressed(out / "dressed.npz", imgs=np.asfortranarray(gray.astype(">i2")),
                    boxes=np.array([[1, 2, 4, 3], [0, 0, 6, 4]], np.float32), gts=np.asfortranarray((gray > 100).astype(np.int64)))
vol = rng.integers(0, 256, (3, 5, 7), dtype=np.uint8)
np.savez_compressed(out / "volume.npz", imgs=np.asfortranarray(vol), boxes=np.array([[1, 1, 0, 4, 3, 2]], np.uint16),
                    spacing=np.array([0.7, 0.8, 2.5]), gts=(vol > 100).astype(np.uint16))
np.savez(out / "objects.npz", imgs=np.array([{"a": 1}, None], object), boxes=np.array([[1, 2, 4, 3]]))
np.savez(out / "nan.npz", imgs=np.array([[0.5, np.nan], [1, 2]], np.float32), boxes=np.array([[0, 0, 1, 1]]))
np.savez(out / "complex.npz", imgs=np.zeros((2, 2), np.complex64), boxes=np.array([[0, 0, 1, 1]]))
np.savez(out / "text.npz", imgs=np.array([["a", "b"]]), boxes=np.array([[0, 0, 1, 1]]))
np.savez(out / "nobox.npz", imgs=gray)
np.savez(out / "emptybox.npz", imgs=gray, boxes=np.zeros((0, 4)))
np.savez(out / "flatbox.npz", imgs=gray, boxes=np.array([1, 2, 3, 4]))
np.savez(out / "rank.npz", imgs=np.zeros((2, 3, 4, 5, 6), np.uint8), boxes=np.array([[0, 0, 1, 1]]))
np.savez(out / "zero.npz", imgs=np.zeros((0, 3), np.uint8), boxes=np.array([[0, 0, 1, 1]]))
np.savez(out / "negative.npz", imgs=gray, boxes=np.array([[0, 0, 1, 1]]), gts=np.array([[-1, 0], [1, 2]]))
np.savez(out / "spacing.npz", imgs=gray, boxes=np.array([[0, 0, 1, 1]]), gts=gray, spacing=np.array([1.0, 0.0, 2.0]))
