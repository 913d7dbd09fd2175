"""Regions of interest as 3D Slicer saves them, and the voxels that they hold (edge-demo/tests/boxes.rs).

markups.py edge-demo/tests/data/markups.json        (needs numpy)

3D Slicer keeps a region as a matrix from the box to RAS. What it writes is that matrix by
vtkMRMLMarkupsROIJsonStorageNode: the centre, and the orientation row by row, with the first two rows and coordinates
negated where the file is in LPS. Here random boxes are turned into such files, and their eight corners, by homogeneous
matrices in RAS, into the hull in voxels; slices are those whose centres lie within it.
"""
import json
import sys

import numpy as np

rng = np.random.default_rng(5)


def rotation():
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q *= np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else q @ np.diag([1, 1, -1])


def case(system, turned, oblique, unit):
    affine = np.eye(4)
    turn = rotation() if oblique else np.diag([-1.0, -1.0, 1.0])
    affine[:3, :3] = turn * np.array([0.7, 0.9, 3.0])
    affine[:3, 3] = rng.uniform(-80, 80, 3)
    region = np.eye(4)
    region[:3, :3] = rotation() if turned else np.eye(3)
    # Somewhere in a volume of 200 x 160 x 40 voxels.
    region[:3, 3] = (affine @ np.r_[rng.uniform([60, 50, 12], [140, 110, 28]), 1])[:3]
    size = rng.uniform(15, 50, 3)
    corners = np.array([[x, y, z, 2] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) / 2
    corners[:, :3] *= size
    voxels = (np.linalg.inv(affine) @ region @ corners.T)[:3]
    low, high = voxels.min(1), voxels.max(1)
    low[2], high[2] = np.ceil(low[2]), np.floor(high[2])
    flip = np.diag([-1.0, -1.0, 1.0]) if system == "LPS" else np.eye(3)
    scale = 1000.0 if unit == "um" else 1.0
    markup = {
        "type": "ROI",
        "coordinateSystem": system,
        "coordinateUnits": ["um", "UCUM", "micrometer"] if unit == "um" else unit,
        "roiType": "Box",
        "center": (flip @ region[:3, 3] * scale).tolist(),
        "orientation": (flip @ region[:3, :3]).ravel().tolist(),
        "size": (size * scale).tolist(),
        "insideOut": False,
        "controlPoints": [{"id": "1", "position": (flip @ region[:3, 3] * scale).tolist()}],
        "display": {"visibility": True},
    }
    return {"affine": affine[:3].tolist(), "markup": markup, "voxels": [*low, *high]}


cases = [case(s, t, o, u) for s in ("LPS", "RAS") for t in (False, True) for o in (False, True) for u in ("mm", "um")]
with open(sys.argv[1], "w") as file:
    file.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
