"""Small labelled cases for the tests of the accuracy gate (tests/tests/gate.rs), 2D and 3D, free to ship.

gate_cases.py tests/data/gate        (needs numpy, pillow)

Two are cut from the sample pictures (edge-demo/assets/README.md says whose they are; CC0): their labels come of a threshold
on colour, not of a network, and were looked at. The others are phantoms made here, textured ellipses in noise, under the
licence of this project. Intensities are rounded to steps, because noise does not compress.
"""
import sys
from pathlib import Path

import numpy as np
from PIL import Image

out = Path(sys.argv[1])
assets = Path(__file__).parents[2] / "edge-demo" / "assets"
rng = np.random.default_rng(11)


def halve(image):
    """Means of 2x2 pixels."""
    h, w = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
    image = image[:h, :w].astype(float)
    return (image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]) / 4


def blur(image, times):
    """A box filter of three pixels along both axes, some times over."""
    for _ in range(times):
        for axis in (0, 1):
            image = (np.roll(image, 1, axis) + image + np.roll(image, -1, axis)) / 3
    return image


def grid(h, w):
    return np.mgrid[:h, :w].astype(float)


def ellipse(shape, cy, cx, ry, rx, angle=0.0, rough=0.0):
    """An ellipse whose radius changes by a share `rough` along its rim."""
    y, x = grid(*shape)
    y, x = y - cy, x - cx
    c, s = np.cos(angle), np.sin(angle)
    u, v = (c * x + s * y) / rx, (c * y - s * x) / ry
    turn = np.arctan2(v, u)
    return np.hypot(u, v) <= 1 + rough * (np.sin(3 * turn + 1) + 0.6 * np.sin(5 * turn))


def fitted(mask):
    """The ellipse of a region's moments: vessels that cross the region do not cut it."""
    y, x = np.nonzero(mask)
    cy, cx = y.mean(), x.mean()
    values, vectors = np.linalg.eigh(np.cov(np.stack([x, y])))
    (rx, ry), angle = 2 * np.sqrt(values), np.arctan2(vectors[1, 0], vectors[0, 0])
    return ellipse(mask.shape, cy, cx, ry, rx, angle)


def save(name, image, labels, spacing=None, step=4):
    image = (np.clip(image, 0, 255) / step).round() * step
    image = np.clip(image, 0, 255).astype(np.uint8)
    boxes = []
    for label in range(1, labels.max() + 1):
        at = [(i.min(), i.max()) for i in np.nonzero(labels == label)]
        low, high = zip(*reversed(at))
        boxes.append(low + high)
    more = {} if spacing is None else {"spacing": np.array(spacing)}
    np.savez_compressed(out / name, imgs=image, gts=labels.astype(np.uint8), boxes=np.array(boxes), **more)


# A cell in saline, by a threshold half way between it and what surrounds it.
cell = halve(np.array(Image.open(assets / "cell.png"))[232:532, 250:550])
save("2DBox_Microscopy_cell.npz", cell, (blur(cell, 2) > 110).astype(int))

# The optic disc: what is bright in green, within a box drawn by hand, as the ellipse of its moments.
eye = halve(np.array(Image.open(assets / "retina.jpg").convert("RGB"))[480:880, 60:460])
near = np.zeros(eye.shape[:2], bool)
near[30:140, 28:128] = True
save("2DBox_Fundus_disc.npz", eye, fitted(near & (blur(eye[..., 1], 4) > 130)).astype(int), step=8)

# Ultrasound: a dark cyst in speckle.
shape = (144, 144)
cyst = ellipse(shape, 76, 66, 30, 42, 0.3, 0.04)
echo = blur(rng.rayleigh(1.0, shape), 1) * np.where(cyst, 18, 74) * (1.1 - 0.3 * grid(*shape)[0] / 144)
save("2DBox_US_cyst.npz", echo, cyst.astype(int), step=8)

# Dermoscopy: a brown mole on skin.
mole = ellipse((136, 160), 66, 82, 36, 46, -0.4, 0.05)
soft = blur(mole.astype(float), 2)[..., None]
skin = np.array([214, 168, 148.0]) + blur(rng.normal(0, 22, (136, 160)), 2)[..., None]
brown = np.array([112, 68, 50.0]) + blur(rng.normal(0, 40, (136, 160)), 2)[..., None]
save("2DBox_Dermoscopy_mole.npz", skin * (1 - soft) + brown * soft, mole.astype(int), step=8)

# CT: a body with three organs.
shape = (160, 160)
labels = np.zeros(shape, int)
body = ellipse(shape, 80, 80, 62, 74)
image = np.where(body, 105.0, 8.0)
for label, (organ, value) in enumerate([(ellipse(shape, 66, 52, 30, 24, 0.2, 0.03), 168),
                                        (ellipse(shape, 74, 112, 18, 15), 200),
                                        (ellipse(shape, 110, 90, 11, 20, 0.1), 50)], 1):
    image[organ] = value
    labels[organ] = label
save("2DBox_CT_organs.npz", blur(image, 1) + rng.normal(0, 6, shape), labels, step=8)

# Microscopy: five stained cells.
shape = (144, 168)
labels = np.zeros(shape, int)
stain = np.full(shape + (3,), (232, 214, 226.0)) + blur(rng.normal(0, 20, shape), 1)[..., None]
for label, (cy, cx, ry, rx) in enumerate([(34, 36, 18, 22), (40, 104, 21, 17), (100, 40, 19, 19), (98, 92, 15, 20),
                                          (92, 142, 22, 16)], 1):
    one = ellipse(shape, cy, cx, ry, rx, 0.4 * label, 0.03)
    stain[one] = np.array([128, 74, 150.0]) + blur(rng.normal(0, 36, shape), 2)[one][:, None]
    labels[one] = label
save("2DBox_Microscopy_cells.npz", stain, labels, step=16)

# MR: two bodies of gray matter through six slices, 1 x 1 x 4 mm.
depth, shape = 6, (96, 96)
labels = np.zeros((depth, *shape), int)
volume = np.zeros((depth, *shape))
for z in range(depth):
    wide = np.sqrt(1 - ((z - 2.5) / 4.2) ** 2)
    head = ellipse(shape, 48, 48, 42, 36)
    volume[z] = np.where(head, 70.0, 5.0)
    for label, (one, value) in enumerate([(ellipse(shape, 40, 38, 18 * wide, 13 * wide, 0.1), 180),
                                          (ellipse(shape, 62, 62, 11 * wide, 14 * wide, 0.5), 130)], 1):
        volume[z][one] = value
        labels[z][one] = label
    volume[z] = blur(volume[z], 1) + rng.normal(0, 7, shape)
save("3DBox_MR_bodies.npz", volume, labels, (1.0, 1.0, 4.0), step=16)
