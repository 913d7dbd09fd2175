"""Codestreams of JPEG 2000 and HTJ2K for edge-demo/tests/jpeg2000.rs, whose pixel i is 2700 i - 30000.

jpeg2000_made.py edge-demo/tests/data/jpeg2000

Made with imagecodecs 2026.3.6 (OpenJPEG, OpenJPH).
"""
import sys
from pathlib import Path

import imagecodecs
import numpy as np

folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
pixels = (np.arange(24, dtype="i4") * 2700 - 30000).astype("i2").reshape(4, 6)
(folder / "signed.j2k").write_bytes(imagecodecs.jpeg2k_encode(pixels, reversible=True, codecformat="j2k"))
(folder / "signed.jhc").write_bytes(imagecodecs.htj2k_encode(pixels))
