"""Golden values of train's AdamW, SharpMin and learning-rate schedule, by PyTorch.

Writes train/tests/data/optim.safetensors. Needs torch, numpy, safetensors, pytorch_optimizer (its SAM is the second
opinion on the one here).
"""
from pathlib import Path

import numpy as np
import torch
from pytorch_optimizer import SAM
from safetensors.numpy import save_file

torch.set_num_threads(1)
golden = {}


def save(name, t):
    golden[name] = np.array(t.detach().numpy() if isinstance(t, torch.Tensor) else t)


# AdamW: 50 steps with gradients by a formula, in two groups; the learning rate changes on the way.
SHAPES = {"weight": (9, 13), "bias": (37,), "late": (5,), "scalar": (), "never": (3,)}
GROUPS = (["weight", "late"], 0.01), (["bias", "scalar", "never"], 0.0)


def number(k, i, step):
    """A multiple of 2^-10 in -1..1 by integers, the same in any language; a tenth is zero."""
    h = (i * 2654435761 + k * 40503 + step * 97777) % 2**32
    return 0.0 if h % 10 == 0 else ((h >> 11) % 2048 - 1024) / 1024


def tensor(k, shape, step, scale):
    values = [number(k, i, step) * scale for i in range(int(np.prod(shape)))]
    return torch.tensor(values, dtype=torch.float32).reshape(shape)


def gradient(k, name, shape, step):
    """None where the loss does not reach the parameter."""
    if name == "never" or name == "late" and step % 3 != 1:
        return None
    return tensor(k, shape, step, 2.0 ** (step % 7 - 5))


parameters = {name: torch.nn.Parameter(tensor(k, shape, 0, 1.0)) for k, (name, shape) in enumerate(SHAPES.items())}
optimizer = torch.optim.AdamW([{"params": [parameters[n] for n in names], "weight_decay": decay} for names, decay in GROUPS],
                              lr=3e-3, betas=(0.9, 0.999), eps=1e-8)
for step in range(1, 51):
    for k, (name, shape) in enumerate(SHAPES.items()):
        parameters[name].grad = gradient(k, name, shape, step)
    for group in optimizer.param_groups:
        group["lr"] = 3e-3 if step <= 20 else 7e-4
    optimizer.step()
    if step in (1, 50):
        for name, p in parameters.items():
            save(f"adamw.{step}.{name}", p)
for name, p in parameters.items():
    for key, value in optimizer.state[p].items():
        save(f"adamw.state.{name}.{key}", value)
assert optimizer.state[parameters["late"]]["step"] == 17 and not optimizer.state[parameters["never"]]

# SharpMin around AdamW: a net of 4 inputs, 6 hidden, 1 output. The third input weighs nothing and its gradient is zero.
NET = {"w1": (6, 4), "b1": (6,), "w2": (1, 6), "b2": (1,)}
x = tensor(50, (8, 4), 1, 2.0)
y = tensor(51, (8, 1), 1, 1.0)
x[:, 2] = 0


def loss(net):
    return ((torch.tanh(x @ net["w1"].T + net["b1"]) @ net["w2"].T + net["b2"] - y) ** 2).mean()


def sharp_step(net, base, rho, adaptive, eta):
    """w + rho T^2 g / |T g|, T = |w| + eta or 1 (SAM: equation 2 of the paper; ASAM: equation 7), in f64."""
    base.zero_grad()
    loss(net).backward()
    before = {n: p.detach().clone() for n, p in net.items()}
    g = {n: p.grad.double() for n, p in net.items()}
    t = {n: p.detach().double().abs() + eta if adaptive else torch.ones_like(g[n]) for n, p in net.items()}
    norm = sum(((t[n] * g[n]) ** 2).sum() for n in g).sqrt()
    with torch.no_grad():
        for n, p in net.items():
            p.copy_(p.double() + rho * t[n] ** 2 * g[n] / norm)
    worst = {n: p.detach().clone() for n, p in net.items()}
    base.zero_grad()
    loss(net).backward()
    with torch.no_grad():
        for n, p in net.items():
            p.copy_(before[n])
    base.step()
    return worst


def start():
    return {name: torch.nn.Parameter(tensor(60 + k, shape, 1, 0.5)) for k, (name, shape) in enumerate(NET.items())}


for case, (rho, adaptive, eta) in {"sam": (0.05, False, 0.0), "asam": (0.5, True, 0.01), "asam0": (0.5, True, 0.0)}.items():
    net = start()
    base = torch.optim.AdamW(net.values(), lr=0.02, weight_decay=0.01)
    if eta == 0:
        other = start()
        published = SAM(list(other.values()), torch.optim.AdamW, rho=rho, adaptive=adaptive, lr=0.02, weight_decay=0.01)
    for step in range(5):
        worst = sharp_step(net, base, rho, adaptive, eta)
        if step == 0 and case != "asam0":
            for n, p in worst.items():
                save(f"{case}.worst.{n}", p)
        if eta == 0:
            loss(other).backward()
            published.first_step(zero_grad=True)
            assert step or all(torch.allclose(worst[n], other[n], rtol=1e-5, atol=1e-7) for n in net)
            loss(other).backward()
            published.second_step(zero_grad=True)
            assert all(torch.allclose(net[n], other[n], rtol=1e-4, atol=1e-6) for n in net), (case, step)
    print(case, loss(start()).item(), "to", loss(net).item())
    if case != "asam0":
        for n, p in net.items():
            save(f"{case}.{n}", p)

# ReduceLROnPlateau: improvements, within the threshold or not, plateaus, values that are not finite.
nan, inf = float("nan"), float("inf")
fall = [1 / (1 + 0.3 * i) for i in range(12)]
SERIES = (fall + [fall[-1]] * 9 + [fall[-1] * (1 - 5e-5)] * 4 + [fall[-1] * 0.99, 0.2, nan, nan, 0.2, inf, 0.19, -0.1, -0.1, -0.100005,
          -0.1002, nan, nan, nan, nan] + [-0.1] * 25 + [-0.3, -inf, -0.4, -0.5, -0.6, -0.7, -0.8])
save("plateau.series", np.array(SERIES, np.float64))
base = dict(mode="min", factor=0.9, patience=5, threshold=1e-4, threshold_mode="rel", cooldown=0, min_lr=0, eps=1e-8)
CASES = [base, base | {"factor": 0.1, "patience": 2, "cooldown": 3}, base | {"mode": "max", "patience": 1},
         base | {"threshold_mode": "abs", "threshold": 0.05, "patience": 0, "min_lr": 2e-5},
         base | {"mode": "max", "threshold_mode": "abs", "patience": 3, "cooldown": 1, "factor": 0.5, "eps": 1e-5},
         base | {"patience": 0, "factor": 0.7, "cooldown": 2, "min_lr": 1e-6, "threshold": 0.0}]
for i, case in enumerate(CASES):
    # NaN first in the last case: nothing is best yet.
    series = ([nan, inf] if i == 5 else []) + SERIES
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=5e-5)
    schedule, rates = torch.optim.lr_scheduler.ReduceLROnPlateau(sgd, **case), []
    for metric in series:
        schedule.step(metric)
        rates.append(sgd.param_groups[0]["lr"])
    save(f"plateau.{i}", np.array(rates, np.float64))
    print(len(set(rates)), "learning rates")

out = Path(__file__).parents[2] / "train/tests/data/optim.safetensors"
save_file({k: np.ascontiguousarray(v).reshape(v.shape) for k, v in golden.items()}, out)
out.chmod(0o644)
print(len(golden), "tensors", out.stat().st_size, "bytes, torch", torch.__version__)
