"""NRRD and MetaImage files that SimpleITK and pynrrd write, and what they hold, for edge-demo/tests/made.rs.

readers_made.py edge-demo/tests/data/made

Made with SimpleITK 2.5.7 and pynrrd 1.1.3. The table, made.json, is as that of readers.py.
"""
import hashlib
import json
import sys
from pathlib import Path

import nrrd
import numpy as np
import SimpleITK as sitk

folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
table = []
random = np.random.default_rng(3)
turned = [0.96, -0.28, 0.0, 0.224, 0.768, -0.6, 0.168, 0.576, 0.8]


def entry(name, values, affine=None, spacing=None, frame=None):
    values = np.ascontiguousarray(values, "<f8")
    found = {"file": name} | ({"frame": frame} if frame is not None else {}) | {"shape": list(values.shape)}
    found["sha256"] = hashlib.sha256(values.tobytes()).hexdigest()
    table.append(found | {"affine": affine, "spacing": spacing})


def ras(image):
    lps = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    return (np.diag([-1, -1, 1]) @ np.c_[lps, image.GetOrigin()]).tolist()


def volume(kind, shape=(5, 6, 7)):
    if np.issubdtype(kind, np.floating):
        return random.normal(0, 300, shape).astype(kind)
    info = np.iinfo(kind)
    return random.integers(max(info.min, -2**40), min(info.max, 2**40), shape).astype(kind)


# SimpleITK: each number type in each of the four ways that a file can be.
kinds = [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float32, np.float64]
for i, kind in enumerate(kinds):
    for ending in ("nrrd", "mha"):
        image = sitk.GetImageFromArray(volume(kind))
        image.SetSpacing((0.7, 0.9, 2.5))
        image.SetOrigin((-10.5, 20.25, -300))
        image.SetDirection(turned)
        name = f"{np.dtype(kind)}.{ending}"
        sitk.WriteImage(image, str(folder / name), useCompression=i % 2 == 0)
        entry(name, sitk.GetArrayFromImage(sitk.ReadImage(str(folder / name))), ras(image), list(image.GetSpacing()))
for name, compressed in (("apart.nhdr", False), ("packed.nhdr", True), ("beside.mhd", False), ("zipped.mhd", True)):
    image = sitk.GetImageFromArray(volume(np.int16))
    image.SetDirection(turned)
    sitk.WriteImage(image, str(folder / name), useCompression=compressed)
    entry(name, sitk.GetArrayFromImage(image), ras(image), [1.0] * 3)
for ending in ("nrrd", "mha"):
    image = sitk.GetImageFromArray(volume(np.uint8, (4, 5, 6, 3)), isVector=True)
    sitk.WriteImage(image, str(folder / f"rgb.{ending}"))
    entry(f"rgb.{ending}", sitk.GetArrayFromImage(image), ras(image), [1.0] * 3)
    flat = sitk.GetImageFromArray(volume(np.uint16, (5, 6)))
    flat.SetSpacing((0.5, 0.75))
    sitk.WriteImage(flat, str(folder / f"flat.{ending}"))
    entry(f"flat.{ending}", sitk.GetArrayFromImage(flat))
    vectors = sitk.GetImageFromArray(volume(np.float32, (4, 5, 6, 3)), isVector=True)
    sitk.WriteImage(vectors, str(folder / f"vectors.{ending}"))
table.append({"file": "vectors.mha", "error": "voxels of 3 values of f32"})
table.append({"file": "vectors.nrrd", "error": "holds 3 volumes"})
several = sitk.JoinSeries([sitk.GetImageFromArray(volume(np.int16)) for _ in range(3)])
sitk.WriteImage(several, str(folder / "several.mha"), useCompression=True)
entry("several.mha", sitk.GetArrayFromImage(several)[2], frame=2)
table.append({"file": "several.mha", "error": "holds 3 volumes"})

# pynrrd: spaces, byte order, an axis of volumes, and what is not read.
steps = np.array([[0.0, 0.5, 0.1], [-0.75, 0.0, 0.0], [0.0, -0.3, 2.0]])
signs = {"right-anterior-superior": [1, 1, 1], "LAS": [-1, 1, 1], "left-posterior-superior": [-1, -1, 1]}
for name, (space, factors) in zip(("ras", "las", "lps"), signs.items()):
    values = volume(np.int16, (7, 6, 5))
    endian = "big" if name == "las" else "little"
    header = {"space": space, "space directions": steps, "space origin": [1.5, -2.5, 3.5], "endian": endian,
              "encoding": "raw" if name == "lps" else "gzip", "kinds": ["domain"] * 3}
    nrrd.write(str(folder / f"{name}.nrrd"), values.astype(values.dtype.newbyteorder("<>"[endian == "big"])), header)
    found, read = nrrd.read(str(folder / f"{name}.nrrd"))
    assert (found == values).all() and read["endian"] == endian
    affine = np.diag(factors) @ np.c_[steps.T, [1.5, -2.5, 3.5]]
    entry(f"{name}.nrrd", values.T, affine.tolist(), np.linalg.norm(steps, axis=1).tolist())
layers = volume(np.uint8, (4, 7, 6, 5))
nrrd.write(str(folder / "layers.nrrd"), layers,
           {"space": "LPS", "space directions": np.vstack([[np.nan] * 3, steps]), "space origin": [0.0, 0, 0],
            "kinds": ["list", "domain", "domain", "domain"]})
entry("layers.nrrd", layers[2].T, (np.diag([-1, -1, 1]) @ np.c_[steps.T, np.zeros(3)]).tolist(), frame=2)
table.append({"file": "layers.nrrd", "error": "holds 4 volumes"})
plain = volume(np.float32, (7, 6, 5))
nrrd.write(str(folder / "plain.nrrd"), plain, {"spacings": [0.5, 1.0, 2.0]})
entry("plain.nrrd", plain.T, spacing=[0.5, 1.0, 2.0])
nrrd.write(str(folder / "text.nrrd"), plain, {"encoding": "ascii"})
table.append({"file": "text.nrrd", "error": "in the encoding 'ascii'; raw and gzip are read"})
nrrd.write(str(folder / "bz.nrrd"), plain, {"encoding": "bzip2"})
table.append({"file": "bz.nrrd", "error": "in the encoding 'bzip2'; raw and gzip are read"})
whole = (folder / "int16.mha").read_bytes()
(folder / "cut.mha").write_bytes(whole[:-40])
table.append({"file": "cut.mha", "error": "cut.mha: "})
whole = (folder / "ras.nrrd").read_bytes()
(folder / "cut.nrrd").write_bytes(whole[:-40])
table.append({"file": "cut.nrrd", "error": "ends too early"})
(folder / "cut.nhdr").write_bytes((folder / "apart.nhdr").read_bytes()[:60])
table.append({"file": "cut.nhdr", "error": "cut.nhdr: ends too early"})
(folder / "made.json").write_text("[" + ",\n ".join(map(json.dumps, table)) + "]\n")
print(len(table), "entries")
