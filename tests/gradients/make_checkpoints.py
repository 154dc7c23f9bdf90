"""What torch.utils.checkpoint saves and computes again: the truths of check_checkpoints.py. Run by hand, torch 2.13.0.

    python make_checkpoints.py checkpoints

Small models of which some parts run under torch.utils.checkpoint (without reentrance), exported without it. Beside each
.onnx a .json, by --checkpoint policy: `saved_bytes` (what autograd keeps between forward and backward, each storage
once, parameters apart; `saved_input_bytes` of it are the model's own inputs), `recomputed_flops` (contractions that
backward runs beyond those of a run without checkpoints), `largest_part_bytes` (what the largest part saves when it is
run again, beyond what it was given) and `peak_bytes` (of all storages that operators make in forward and backward, the
most that are alive at once, looked at after each operator).
"""

import json
import os
import sys
import warnings

import torch
import torch.nn as nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

warnings.filterwarnings("ignore")


class Chain(nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(nn.Sequential(nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16))
                                   for _ in range(6))
        self.head = nn.Sequential(nn.Tanh(), nn.Linear(16, 4))

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return self.head(x)


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + x)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.parts = nn.ModuleList(Residual(8) for _ in range(4))
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        for part in self.parts:
            x = part(x)
        return self.head(x.mean((2, 3)))


class Layer(nn.Module):
    """Attention and two products behind layer norms, with dropout of what each product reads."""

    def __init__(self, width=16, heads=2):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drop1, self.drop2 = nn.Dropout(0.1), nn.Dropout(0.1)

    def forward(self, x):
        n, t, width = x.shape
        q, k, v = (part.view(n, t, self.heads, -1).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, 2))
        scores = torch.softmax(q @ k.transpose(2, 3) * (width // self.heads) ** -0.5, 3)
        x = x + self.proj(self.drop1((scores @ v).transpose(1, 2).reshape(n, t, width)))
        return x + self.down(self.drop2(nn.functional.gelu(self.up(self.norm2(x)))))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(6, 16)
        self.parts = nn.ModuleList(Layer() for _ in range(3))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 7)

    def forward(self, x):
        x = self.embed(x)
        for part in self.parts:
            x = part(x)
        return self.head(self.norm(x))


MODELS = {"chain": (Chain, (8, 16)), "resnet": (ResNet, (2, 3, 8, 8)), "transformer": (Transformer, (2, 5, 6))}
# By policy: how many of `parts` run under one checkpoint; None: no checkpoint at all.
POLICIES = {"none": None, r"parts\.\d+": 1}


class Saved:
    """Bytes of what autograd saves meanwhile, each storage once, without parameters, buffers and what is given."""

    def __init__(self, model, given=()):
        self.skip = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers(), *given]}
        self.storages = {}

    def __enter__(self):
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self.pack, lambda t: t)
        self.hooks.__enter__()
        return self

    def __exit__(self, *error):
        self.hooks.__exit__(*error)

    def pack(self, tensor):
        # Held, so that no storage is handed out twice.
        self.storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    def bytes(self, only=None):
        return sum(t.untyped_storage().nbytes() for key, t in self.storages.items()
                   if key not in self.skip and (only is None or key in only))


class Live(TorchDispatchMode):
    """Bytes of the storages that operators make meanwhile, as long as anything holds them."""

    def __init__(self, known):
        super().__init__()
        self.known = {t.untyped_storage()._cdata for t in known}
        self.storages, self.peak = {}, 0

    def __torch_dispatch__(self, operator, types, arguments=(), options=None):
        results = operator(*arguments, **(options or {}))
        for t in tree_leaves(results):
            if isinstance(t, torch.Tensor) and t.untyped_storage()._cdata not in self.known:
                storage = t.untyped_storage()
                self.storages[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.storages = {key: entry for key, entry in self.storages.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.storages.values()))
        return results


def under_checkpoints(model):
    for part in model.parts:
        forward = part.forward
        part.forward = lambda x, forward=forward: checkpoint(forward, x, use_reentrant=False)


def measure(make, shape, together):
    torch.manual_seed(0)
    model, x = make().train(), torch.randn(shape)
    largest = 0
    if together is not None:
        inputs = []
        handles = [part.register_forward_pre_hook(lambda m, given: inputs.append((m, given[0]))) for part in model.parts]
        model(x)
        for handle in handles:
            handle.remove()
        for part, given in inputs:
            given = given.detach().requires_grad_()
            with Saved(part, [given]) as saved:
                part(given)
            largest = max(largest, saved.bytes())
        under_checkpoints(model)
    with Saved(model) as saved:
        out = model(x)
    with FlopCounterMode(display=False) as flops:
        out = model(x)
        out.backward(torch.ones_like(out))
    for parameter in model.parameters():
        parameter.grad = None
    del out
    seed = torch.ones_like(model(x))
    with Live([*model.parameters(), *model.buffers(), x, seed]) as live:
        model(x).backward(seed)
    own = {x.untyped_storage().data_ptr()}
    return {"saved_bytes": saved.bytes() - saved.bytes(own), "saved_input_bytes": saved.bytes(own),
            "flops": flops.get_total_flops(), "largest_part_bytes": largest, "peak_bytes": live.peak}


def main():
    folder = sys.argv[1]
    for name, (make, shape) in MODELS.items():
        rows = {policy: measure(make, shape, together) for policy, together in POLICIES.items()}
        plain = rows["none"]["flops"]
        for row in rows.values():
            row["recomputed_flops"] = row.pop("flops") - plain
        torch.onnx.export(make().train(), torch.randn(shape), os.path.join(folder, f"{name}.onnx"), opset_version=17,
                          dynamo=False, training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False)
        with open(os.path.join(folder, f"{name}.json"), "w") as file:
            json.dump(rows, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
