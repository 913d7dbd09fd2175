"""NPZ files of the later challenges, whose boxes are dictionaries, for core/tests/npz.rs.

npz_boxes.py core/tests/data

Made with numpy 2.4.6; `later-numpy1.npz` with numpy 1.26.4, whose pickles name other modules.
"""
import pickle
import sys
from pathlib import Path

import numpy as np

out = Path(sys.argv[1])
names = ["z_min", "z_max", "z_mid", "z_mid_x_min", "z_mid_y_min", "z_mid_x_max", "z_mid_y_max"]
rng = np.random.default_rng(7)
volume = rng.integers(0, 256, (6, 5, 7), dtype=np.uint8)
# As the challenge makes them, of numbers of numpy, then of others.
of_numpy = dict(zip(names, np.array([1, 4, 2, 0, 1, 5, 3])))
of_python = dict(zip(names, [0, 5, 300 - 295, 1.5, -1, 6, 4]))
of_types = dict(zip(names, [np.uint8(2), np.int16(3), np.uint32(3), np.float32(0.25), np.float64(1), np.array(3, ">i4")[()],
                            np.uint16(4)]))


def save(name, boxes):
    np.savez_compressed(out / name, imgs=volume, boxes=boxes, spacing=np.array([0.7, 0.8, 2.5]),
                        gts=(volume > 100).astype(np.uint8))


if np.__version__.startswith("1."):
    save("later-numpy1.npz", [of_numpy, of_python, of_types])
    sys.exit()
save("later.npz", [of_numpy, of_python, of_types])
save("later-shared.npz", np.array([of_python] * 3))
save("later-unknown.npz", [of_python, of_python | {"score": 1}])
save("later-missing.npz", [of_python, {name: value for name, value in of_python.items() if name != "z_mid"}])
save("later-outside.npz", [of_python | {"z_mid": 6}])
save("later-text.npz", [of_python | {"z_min": "0"}])
save("later-empty.npz", np.zeros(0, object))
# The older protocols of pickle, as numpy has used them: the pickle alone.
for protocol in (2, 3, 5):
    (out / f"later-{protocol}.pickle").write_bytes(pickle.dumps(np.array([of_python, of_python]), protocol))
