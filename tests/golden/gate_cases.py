"""Labelled cases, free to ship, for the accuracy gate's tests: tests/data/gate.

gate_cases.py ../../edge-demo/assets ../data/gate     (needs numpy, pillow)

Two are the samples of edge-demo (CC0), labelled here without any network: the cell is what is denser than the saline
around it, the optic disc the ellipse in a person's box. The others are drawn: ellipses of an organ's contrast under
blur, noise and a slope of brightness.
"""
import sys
from pathlib import Path

import numpy as np
from PIL import Image

assets, out = Path(sys.argv[1]), Path(sys.argv[2])
out.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(20)


def ellipse(shape, centre, radii):
    axes = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    return sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radii)) <= 1


def blurred(image, times):
    for _ in range(times):
        for axis in (-2, -1):
            image = (np.roll(image, 1, axis) + 2 * image + np.roll(image, -1, axis)) / 4
    return image


def boxes_of(labels):
    found = []
    for label in range(1, labels.max() + 1):
        places = np.argwhere(labels == label)
        low, high = places.min(0)[::-1], places.max(0)[::-1]
        if labels.ndim == 3:
            # The challenge's boxes of volumes are those of the middle slice.
            middle = np.argwhere(labels[(low[2] + high[2]) // 2] == label)
            low[:2], high[:2] = middle.min(0)[::-1], middle.max(0)[::-1]
        found.append([*low, *high])
    return np.array(found, np.uint16)


def save(name, image, labels):
    spacing = np.ones(3)
    np.savez_compressed(out / name, imgs=image, gts=labels, boxes=boxes_of(labels), spacing=spacing)


# The cell: half size, the largest region above the middle between saline and cell.
cell = np.asarray(Image.open(assets / "cell.png").convert("L").resize((275, 330), Image.BOX)).astype(np.float64)
region = ellipse(cell.shape, (187, 214), (40, 40))
dense = blurred(cell, 2) > (np.median(cell) + np.percentile(cell[region], 90)) / 2
save("2DBox_Microscopy_cell.npz", np.repeat(cell.astype(np.uint8)[..., None], 3, 2), (dense & region).astype(np.uint8))

# The optic disc: a quarter of the size.
retina = np.asarray(Image.open(assets / "retina.jpg").convert("RGB").resize((353, 353), Image.BOX))
x0, y0, x1, y1 = np.array([118, 538, 322, 766]) / 4
disc = ellipse(retina.shape[:2], ((y0 + y1) / 2, (x0 + x1) / 2), ((y1 - y0) / 2, (x1 - x0) / 2))
save("2DBox_Fundus_disc.npz", retina[100:230, 0:130], disc[100:230, 0:130].astype(np.uint8))


def phantom(shape, objects, background, noise, blur):
    labels, image = np.zeros(shape, np.uint8), np.full(shape, float(background))
    for label, (centre, radii, value) in enumerate(objects, 1):
        inside = ellipse(shape, centre, radii)
        labels[inside], image[inside] = label, value
    image = blurred(image, blur) + np.linspace(-8, 8, shape[-1])
    # Coarse steps, or noise would not compress.
    image = image + 6 * np.round(rng.normal(0, noise / 6, shape))
    return np.clip(image, 0, 255).astype(np.uint8), labels


def grey(name, *arguments):
    image, labels = phantom(*arguments)
    save(name, np.repeat(image[..., None], 3, 2), labels)


grey("2DBox_CT_phantom-1.npz", (160, 160), [((70, 60), (38, 24), 150), ((95, 118), (22, 30), 190)], 70, 6, 2)
grey("2DBox_CT_phantom-2.npz", (192, 128), [((90, 64), (60, 40), 120), ((140, 84), (14, 14), 200)], 40, 8, 1)
grey("2DBox_US_phantom.npz", (128, 160), [((60, 84), (30, 44), 40)], 110, 12, 3)
volume, labels = phantom((5, 96, 96), [((2, 46, 50), (3, 26, 20), 180)], 80, 6, 2)
save("3DBox_MR_phantom.npz", volume, labels)
