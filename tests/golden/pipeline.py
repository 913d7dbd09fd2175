"""Golden values of core's pre- and postprocessing and propagation, by OpenCV, PyTorch and upstream's procedure.

pipeline.py > core/tests/data/pipeline.txt     (needs numpy, opencv-python-headless, torch)

Pictures and logits are not stored but made by integer formulas that core/tests/pipeline.rs repeats; results are compared
by their FNV-1a hash. Lines:
  resize H W CHANNELS HASH            bytes of the resized picture
  input H W CHANNELS HASH             f32 bits of the network's input
  box H W X0 Y0 X1 Y1 B0 B1 B2 B3     box in the 256 space
  mask H W SEED AREA HASH             bytes of the mask
  volume D H W BOXES HASH PROMPTS     bytes of the 8-bit labels; prompts z:x0,y0,x1,y1 of every object in upstream's order
"""
import numpy as np
import cv2
import torch

S = 256


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def picture(h, w, c):
    """A ramp with noise over less than the full range."""
    i = np.arange(h * w * c, dtype=np.uint64)
    y, x = i // np.uint64(w * c), i // np.uint64(c) % np.uint64(w)
    noise = (i * np.uint64(2654435761) % np.uint64(2**32)) >> np.uint64(26)
    return ((y * np.uint64(3) + x * np.uint64(2)) % np.uint64(150) + noise + np.uint64(17)).astype(np.uint8).reshape(h, w, c)


def resize_longest(img):
    h, w = img.shape[:2]
    k = S / max(h, w)
    r = cv2.resize(img, (int(w * k + 0.5), int(h * k + 0.5)), interpolation=cv2.INTER_AREA)
    return r.reshape(r.shape[:2] + img.shape[2:])


def prepare(img):
    r = resize_longest(np.repeat(img, 3, -1) if img.shape[2] == 1 else img)
    n = (r - r.min()) / np.clip(r.max() - r.min(), 1e-8, None)
    n = np.pad(n, ((0, S - n.shape[0]), (0, S - n.shape[1]), (0, 0)))
    return n.astype(np.float32).transpose(2, 0, 1)


def to256(box, h, w):
    k = S / max(h, w)
    return [int(v * k) for v in box]


def scaled(h, w):
    k = S / max(h, w)
    return int(h * k + 0.5), int(w * k + 0.5)


def blob(cx, cy, rx, ry):
    """Logits of an ellipse: integers over 64, so that both languages hold the same f32."""
    y, x = np.mgrid[0:S, 0:S].astype(np.int64)
    d = ((x - cx) * ry) ** 2 + ((y - cy) * rx) ** 2
    return np.clip(((rx * ry) ** 2 - d) * 4096 // max((rx * ry) ** 2, 1), -4096, 4096).astype(np.float32) / 64


def upsample(logits, h, w):
    nh, nw = scaled(h, w)
    z = torch.from_numpy(logits)[None, None, :nh, :nw]
    return (torch.nn.functional.interpolate(z, size=(h, w), mode="bilinear", align_corners=False)[0, 0] > 0).numpy()


def fake_decoder(z, box):
    """An object that drifts and shrinks from slice to slice, and is lost in every seventh."""
    x0, y0, x1, y1 = [int(v) for v in box]
    if z % 7 == 5:
        return np.full((S, S), -1, np.float32)
    return blob((x0 + x1) // 2 + z % 3 - 1, (y0 + y1) // 2 + z % 2, max((x1 - x0) * 2 // 5, 1), max((y1 - y0) * 2 // 5, 1))


def volume(d, h, w, boxes):
    """Upstream's order: object by object, up from the middle, then down."""
    segs = np.zeros((d, h, w), np.uint8)
    prompts = []
    for idx, (x0, y0, z0, x1, y1, z1) in enumerate(boxes, 1):
        tmp = np.zeros((d, h, w), np.uint8)
        zm = int((z1 - z0) / 2 + z0)
        for zs, prev in ((range(zm, min(z1 + 1, d)), -1), (range(zm - 1, max(-1, z0 - 1), -1), 1)):
            for z in zs:
                box = None
                if z != zm:
                    r = resize_longest(tmp[z + prev][..., None])[..., 0]
                    if r.max() > 0:
                        y, x = np.where(r > 0)
                        box = [max(0, x.min() - 3), max(0, y.min() - 3), min(S, x.max() + 3), min(S, y.max() + 3)]
                if box is None:
                    box = to256((x0, y0, x1, y1), h, w)
                prompts.append(f"{z}:{','.join(str(int(v)) for v in box)}")
                tmp[z, upsample(fake_decoder(z, box), h, w)] = idx
        segs[tmp > 0] = idx
    flat = ";".join(",".join(map(str, b)) for b in boxes)
    print("volume", d, h, w, flat, fnv(segs.tobytes()), ";".join(prompts))


sizes = [(256, 256), (512, 512), (512, 400), (384, 384), (768, 300), (1024, 512), (300, 410), (257, 256), (255, 97),
         (100, 80), (30, 32), (1, 1), (1, 2), (2, 1), (3, 700), (513, 7), (128, 128), (641, 480), (97, 1000), (1280, 5)]
for h, w in sizes:
    for c in (1, 3):
        p = picture(h, w, c)
        r = resize_longest(p)
        print("resize", h, w, c, fnv(r.tobytes()))
for h, w in [(256, 256), (512, 400), (300, 410), (100, 80), (1, 1), (641, 480)]:
    for c in (1, 3):
        print("input", h, w, c, fnv(prepare(picture(h, w, c)).tobytes()))
for h, w, b in [(512, 512, (0, 0, 511, 511)), (300, 410, (17, 33, 209, 280)), (1000, 30, (1, 2, 29, 998)), (60, 50, (7, 9, 9, 9)),
                (3024, 4032, (1111, 777, 3999, 3001))]:
    print("box", h, w, *b, *to256(b, h, w))
for h, w, seed in [(256, 256, 0), (512, 512, 1), (300, 410, 2), (60, 50, 3), (1, 1, 4), (97, 1000, 5), (641, 480, 6), (255, 97, 7)]:
    nh, nw = scaled(h, w)
    m = upsample(np.maximum(blob(nw // 2, nh // 2, max(nw // 3, 1), max(nh // 4, 1)), blob(seed * 9, nh - 1, 7 + seed, 5)), h, w)
    print("mask", h, w, seed, int(m.sum()), fnv(m.astype(np.uint8).tobytes()))
volume(12, 300, 410, [(50, 60, 1, 180, 200, 9), (120, 90, 4, 300, 280, 14), (200, 20, 0, 260, 70, 0)])
volume(20, 60, 50, [(5, 6, 2, 30, 40, 17), (20, 20, 0, 24, 25, 19)])
volume(9, 512, 512, [(100, 100, 0, 110, 112, 8), (90, 95, 3, 300, 310, 4)])
