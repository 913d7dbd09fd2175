"""Golden values of train's losses and of their gradients, by PyTorch.

Writes train/tests/data/losses.safetensors: a batch of four 18x22 samples (two objects, an empty mask, a mask without
background), the shape maps D by SciPy's distance transform, and each loss with its gradients. Dice is MONAI's. Needs
torch, monai, numpy, scipy, safetensors.
"""
from pathlib import Path

import numpy as np
import torch
from monai.losses import DiceLoss
from safetensors.numpy import save_file
from scipy.ndimage import distance_transform_edt
from torch.distributions import Bernoulli, kl_divergence
from torch.nn import functional as F

HEIGHT, WIDTH = 18, 22
rng = np.random.default_rng(1)
y, x = np.mgrid[:HEIGHT, :WIDTH]
mask = np.zeros((4, 1, HEIGHT, WIDTH), np.float32)
mask[0, 0] = (y - 8) ** 2 / 30 + (x - 12) ** 2 / 60 < 1
mask[1, 0] = ((x + y > 24) & (x > 9)) | ((y < 6) & (x < 5))
mask[3] = 1
# Logits that agree with the mask in most places, and reach far on both sides.
logits = ((mask - 0.5) * 6 + rng.normal(size=mask.shape) * 4).astype(np.float32)
iou = np.array([[0.9], [0.2], [0.4], [1.1]], np.float32)


def shape_map(g):
    """D of one mask, in f64."""
    if g.all():
        # No background, no distance (SciPy's result is meaningless): everything is rim.
        return 1 / (1 + np.exp(-1 / 0.2)) * g
    d = distance_transform_edt(g)
    d = d / (d.max() + 1e-8)
    return g / (1 + np.exp(-(1 - d) / 0.2))


shape = np.stack([shape_map(g[0].astype(np.float64))[None] for g in mask]).astype(np.float32)
# The paper's oracles: half at the deepest pixel, nothing outside, 0.9933 where the distance is nothing.
for g, s in zip(mask[:2], shape):
    assert abs(s[g == 1].min() - 0.5) < 1e-6 and s[g == 0].max() == 0 and s.max() < 0.99331
assert shape[2].max() == 0


def hard_iou(p, g):
    """IoU of binary masks as the paper's code counts it, and 1 where it divides 0 by 0."""
    both, either = ((p > 0.5) & (g > 0.5)).sum((1, 2, 3)), ((p > 0.5) | (g > 0.5)).sum((1, 2, 3))
    return torch.where(either > 0, both / either, torch.ones(len(p), dtype=p.dtype))[:, None]


def focal(z, g):
    """FocalLoss of the paper's code: of the mean cross entropy."""
    bce = F.binary_cross_entropy_with_logits(z, g)
    return 0.8 * (1 - torch.exp(-bce)) ** 2 * bce


def distillation(z, g):
    """Ours: Kullback-Leibler divergence from a teacher, here the turned logits halved, by the teacher's IoU."""
    t = z.detach().flip(3) / 2
    divergence = kl_divergence(Bernoulli(logits=t), Bernoulli(logits=z)).mean((2, 3))
    return (hard_iou(torch.sigmoid(t), g) * divergence).mean()


LOSSES = {
    "dice": lambda z, i, g, s: DiceLoss(sigmoid=True, squared_pred=True)(z, g),
    "bce": lambda z, i, g, s: F.binary_cross_entropy_with_logits(z, g),
    "mse": lambda z, i, g, s: ((torch.sigmoid(z) - g) ** 2).mean(),
    "iou": lambda z, i, g, s: ((i - hard_iou(torch.sigmoid(z), g).detach()) ** 2).mean(),
    "shape-distance": lambda z, i, g, s: ((s - torch.sigmoid(z)).abs().sum((1, 2, 3)) / torch.sigmoid(z).sum((1, 2, 3))).mean(),
    "focal": lambda z, i, g, s: focal(z, g),
    "distillation": lambda z, i, g, s: distillation(z, g),
}

golden = {"input.logits": logits, "input.iou": iou, "input.mask": mask, "input.shape": shape}
for name, loss in LOSSES.items():
    # In f64: what f32 should have given.
    z, i, g, s = (torch.from_numpy(a).double() for a in (logits, iou, mask, shape))
    z.requires_grad_(), i.requires_grad_()
    value = loss(z, i, g, s)
    # The IoU head's loss does not reach the logits, nor the others the head.
    for leaf, suffix in (z, "logits"), (i, "iou"):
        gradient, = torch.autograd.grad(value, leaf, retain_graph=True, allow_unused=True)
        if gradient is not None:
            golden[f"{name}.{suffix}"] = gradient.float().numpy()
    golden[name] = value.detach().float().numpy()
    print(name, value.item())
out = Path(__file__).parents[2] / "train/tests/data/losses.safetensors"
save_file({k: np.ascontiguousarray(v).reshape(v.shape) for k, v in golden.items()}, out)
out.chmod(0o644)
print(out.stat().st_size, "bytes, torch", torch.__version__)
