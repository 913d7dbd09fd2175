"""Unpacks a case: pixels to OUT.raw, its size and boxes to OUT.txt, as the programs beside this file take them.

python3 unpack.py CASE.npz OUT; nothing beyond the standard library.
"""

import ast
import struct
import sys
import zipfile


def array(case, name):
    with zipfile.ZipFile(case) as archive:
        data = archive.read(name + ".npy")
    assert data[:8] == b"\x93NUMPY\x01\x00", name
    (length,) = struct.unpack("<H", data[8:10])
    header = ast.literal_eval(data[10 : 10 + length].decode("latin1"))
    assert not header["fortran_order"], name
    return header["descr"], header["shape"], data[10 + length :]


case, out = sys.argv[1:]
kind, shape, pixels = array(case, "imgs")
assert kind == "|u1", kind
kind, (count, sides), values = array(case, "boxes")
assert kind == "<i8", kind
boxes = struct.unpack(f"<{count * sides}q", values)
# A picture: width, height, channels. A volume: depth, height, width.
size = shape if sides == 6 else (shape[1], shape[0], *(shape[2:] or (1,)))
with open(out + ".raw", "wb") as file:
    file.write(pixels)
with open(out + ".txt", "w") as file:
    print(*size, *boxes, file=file)
