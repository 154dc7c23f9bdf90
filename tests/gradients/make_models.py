"""Small PyTorch models, exported, and the gradients that autograd computes for them: the truths of check_models.py.

    python make_models.py FOLDER [NAME ...]        # torch 2.13.0, onnx 1.23.2, onnxscript; nothing else runs this

Every model gives FOLDER/<name>.<exporter>.onnx with its weights and an .npz beside it: in.<input>, out.<output>,
seed.<output> (a random output gradient), grad_in.<input> of float inputs and grad.<initializer> of every parameter whose
numbers an initializer has, transposed as the initializer is. ts17 is the exporter based on TorchScript at opset 17,
dynamo18 the one based on torch.export at opset 18.
"""

import itertools
import os
import sys
import warnings

import numpy as np
import onnx
import torch
import torch.nn as nn
import torch.nn.functional as F
from onnx import numpy_helper

import torch_blocks
import torch_models

warnings.filterwarnings("ignore")


class Fn(nn.Module):
    """Layers under names, and what to do with them."""

    def __init__(self, call, **layers):
        super().__init__()
        self.call = call
        for name, layer in layers.items():
            if isinstance(layer, torch.Tensor):
                layer = nn.Parameter(layer)
            setattr(self, name, layer)

    def forward(self, *inputs):
        return self.call(self, *inputs)


def recurrent(cell, **options):
    r = cell(6, 5, batch_first=True, **options)
    width = 10 if options.get("bidirectional") else 5
    return Fn(lambda s, ids: s.o(s.r(s.e(ids))[0]), e=nn.Embedding(11, 6), r=r, o=nn.Linear(width, 7))


def states(s, x, h, c):
    y, (h, c) = s.r(x, (h, c))
    return torch.cat([y, h, c], 0)


class Window(nn.Module):
    """Attention in shifted windows with a relative position bias, as in Swin."""

    def __init__(self, dim=8, heads=2, window=2, shift=1):
        super().__init__()
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.heads, self.window, self.shift = heads, window, shift
        self.table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads))
        at = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        offset = (at[:, :, None] - at[:, None, :]).permute(1, 2, 0) + window - 1
        self.register_buffer("index", (offset[..., 0] * (2 * window - 1) + offset[..., 1]).flatten())

    def forward(self, x):
        b, h, w, c = x.shape
        n, s = self.window, self.window * self.window
        x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        x = x.view(b, h // n, n, w // n, n, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, s, c)
        q, k, v = self.qkv(x).reshape(-1, s, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        bias = self.table[self.index].view(s, s, self.heads).permute(2, 0, 1).unsqueeze(0)
        y = ((q @ k.transpose(-1, -2)) * 0.5 + bias).softmax(-1) @ v
        x = self.proj(y.transpose(1, 2).reshape(-1, s, c))
        x = x.view(b, h // n, w // n, n, n, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        return torch.roll(x, (self.shift, self.shift), (1, 2))


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(4 + 3 * i), nn.ReLU(), nn.Conv2d(4 + 3 * i, 3, 3, padding=1)) for i in range(3))
        self.end = nn.Conv2d(13, 4, 1)

    def forward(self, x):
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return F.avg_pool2d(self.end(x), 2)


class Experts(nn.Module):
    """The two best of four experts for every token, gathered and scattered."""

    def __init__(self, dim=6):
        super().__init__()
        self.gate = nn.Linear(dim, 4)
        self.up, self.down = nn.Parameter(torch.randn(4, dim, 8) * 0.3), nn.Parameter(torch.randn(4, 8, dim) * 0.3)

    def forward(self, x):
        weight, which = self.gate(x).softmax(-1).topk(2, -1)
        weight = weight / weight.sum(-1, keepdim=True)
        mixed = torch.zeros(x.shape[0], 4).scatter(1, which, weight)
        hidden = F.silu(torch.einsum("td,edh->teh", x, self.up))
        return torch.einsum("teh,ehd,te->td", hidden, self.down, mixed)


def tied(s, ids):
    return F.linear(torch.tanh(s.m(s.e(ids))), s.e.weight)


def rotary(s, x):
    """Rotary embedding as GPT-J, GPT-OSS and GLM spell it out: every second element turned, both parts joined."""
    angles = torch.outer(torch.arange(5.), torch.tensor([1., 0.3, 0.1]))
    cos, sin = angles.cos(), angles.sin()
    q, k = (p(x).view(2, 5, 2, 6).transpose(1, 2) for p in (s.q, s.k))
    turned = torch.stack((-q[..., 1::2], q[..., ::2]), -1).flatten(-2)
    q = q * cos.repeat_interleave(2, -1) + turned * sin.repeat_interleave(2, -1)
    a, b = k.chunk(2, -1)
    k = torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
    a, b = k[..., ::2], k[..., 1::2]
    k = torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)
    return (q @ k.transpose(2, 3)).softmax(-1) @ q


def norms(s, x):
    """Instance and group normalization without their operators."""
    def normalized(x, dims):
        mean = x.mean(dims, keepdim=True)
        return (x - mean) / torch.sqrt((x - mean).pow(2).mean(dims, keepdim=True) + 1e-5)

    x = s.c(x)
    x = normalized(x, (2, 3)) * s.w[:, None, None] + s.b[:, None, None]
    return normalized(x.view(2, 3, -1), (2,)).view(2, 6, 6, 6) * s.v.view(1, 6, 1, 1) + s.d.view(1, 6, 1, 1)


T = lambda *shape: torch.randn(*shape)
I = lambda high, *shape: torch.randint(0, high, shape)
image = lambda: (T(2, 4, 8, 8),)
S = nn.Sequential
BOTH, TS, DYNAMO = ("ts17", "dynamo18"), ("ts17",), ("dynamo18",)
MODELS = {  # name: make, inputs, exporters
    "gru": (lambda: recurrent(nn.GRU), lambda: (I(11, 3, 4),), TS),
    "gru_bidirectional": (lambda: recurrent(nn.GRU, bidirectional=True, num_layers=2), lambda: (I(11, 3, 4),), TS),
    "lstm_bidirectional": (lambda: recurrent(nn.LSTM, bidirectional=True), lambda: (I(11, 3, 4),), TS),
    "rnn_relu": (lambda: recurrent(nn.RNN, nonlinearity="relu"), lambda: (I(11, 3, 4),), TS),
    "lstm_states": (lambda: Fn(states, r=nn.LSTM(3, 4)), lambda: (T(5, 2, 3), T(1, 2, 4), T(1, 2, 4)), TS),
    "window_attention": (Window, lambda: (T(2, 4, 4, 8),), BOTH),
    "dense": (Dense, image, TS),
    "conv1d": (lambda: S(nn.Conv1d(4, 6, 5, 2, 3, 2, groups=2), nn.ELU(), nn.Conv1d(6, 3, 3, 3)), lambda: (T(2, 4, 23),),
               BOTH),
    "conv2d": (lambda: S(nn.Conv2d(4, 8, 3, (2, 1), (2, 1), (1, 2), groups=4), nn.LeakyReLU(0.1),
                         nn.Conv2d(8, 8, (3, 2), 3, groups=2)), lambda: (T(2, 4, 11, 9),), BOTH),
    "conv3d": (lambda: S(nn.Conv3d(2, 4, 3, 2, 1, groups=2), nn.Softplus(), nn.Conv3d(4, 3, 2)),
               lambda: (T(1, 2, 6, 5, 7),), BOTH),
    "conv_transpose": (lambda: S(nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), nn.Tanh(),
                                 nn.ConvTranspose2d(6, 3, (3, 2), (1, 2), dilation=2)), lambda: (T(2, 4, 4, 5),), BOTH),
    "conv_transpose1d": (lambda: S(nn.ConvTranspose1d(4, 2, 4, 3, 2), nn.Mish()), lambda: (T(2, 4, 6),), BOTH),
    "conv_transpose3d": (lambda: S(nn.ConvTranspose3d(2, 2, 2, 2), nn.Softsign()), lambda: (T(1, 2, 3, 2, 3),), BOTH),
    "group_norm": (lambda: S(nn.Conv2d(4, 6, 3), nn.GroupNorm(3, 6), nn.GELU("tanh"), nn.Conv2d(6, 2, 1)), image, BOTH),
    "instance_norm": (lambda: S(nn.Conv2d(4, 6, 3), nn.InstanceNorm2d(6, affine=True), nn.Hardswish(),
                                nn.Conv2d(6, 2, 1)), image, BOTH),
    "batch_norm_eval": (lambda: S(nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6).eval(), nn.SELU()), image, DYNAMO),
    "resize": (lambda: S(nn.Conv2d(4, 3, 1), nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(3, 3, 3),
                         nn.Upsample(size=(9, 11), mode="bilinear"), nn.Upsample(scale_factor=2, mode="bilinear",
                                                                                 align_corners=True)), image, BOTH),
    "resize_cubic": (lambda: S(nn.Conv2d(4, 2, 1), nn.Upsample(size=(11, 5), mode="bicubic")), image, BOTH),
    "pad": (lambda: S(nn.ReflectionPad2d((2, 1, 1, 2)), nn.Conv2d(4, 3, 3), nn.ReplicationPad2d(2), nn.Conv2d(3, 3, 3),
                      nn.ConstantPad2d((1, 2, 0, 1), 0.5), nn.ZeroPad2d(1), nn.Conv2d(3, 2, 3)), image, BOTH),
    "pad_circular": (lambda: S(nn.Conv2d(4, 3, 3, padding=1, padding_mode="circular"), nn.CELU(0.7)), image, BOTH),
    "pixel_shuffle": (lambda: S(nn.Conv2d(4, 12, 3), nn.PixelShuffle(2), nn.Conv2d(3, 2, 3), nn.PixelUnshuffle(2)), image,
                      BOTH),
    "pools": (lambda: S(nn.AvgPool2d(3, 2, 1), nn.Conv2d(4, 4, 3, padding=1), nn.AvgPool2d(3, 2, ceil_mode=True),
                        nn.Conv2d(4, 4, 1), nn.MaxPool2d(2, 2, 1), nn.AdaptiveMaxPool2d(1)), lambda: (T(2, 4, 13, 12),),
              TS),
    "pools_dilated": (lambda: S(nn.Conv2d(4, 4, 1), nn.MaxPool2d(3, 2, 1, 2), nn.AvgPool2d(2, count_include_pad=False)),
                      lambda: (T(2, 4, 13, 12),), BOTH),
    "einsum": (lambda: Fn(lambda s, x: torch.einsum("bij,bkj->bik", torch.einsum("bij,jk->bik", x, s.a),
                                                    torch.einsum("bij,ij->bij", x, s.b)) + torch.einsum("bii->bi", x @ s.c
                                                                                                        )[:, :, None],
                          a=T(5, 5), b=T(4, 5), c=T(5, 4)), lambda: (T(2, 4, 5),), BOTH),
    "embedding": (lambda: Fn(lambda s, ids: s.o(s.e(ids).sum(1) * s.p[ids].mean(1)), e=nn.Embedding(5, 6), p=T(5, 6),
                             o=nn.Linear(6, 3)), lambda: (I(5, 3, 9),), BOTH),
    "experts": (Experts, lambda: (T(7, 6),), BOTH),
    "tied": (lambda: Fn(tied, e=nn.Embedding(9, 6), m=nn.Linear(6, 6)), lambda: (I(9, 2, 5),), BOTH),
    "activations": (lambda: Fn(lambda s, x: torch.cat([F.relu6(3 * x), F.hardtanh(x), F.hardsigmoid(x), F.softshrink(x),
                                                       F.hardshrink(x), F.prelu(x, s.p), F.logsigmoid(x), x.sigmoid(),
                                                       x.abs().sqrt(), x.exp().log1p(), torch.erf(x), x.sin() * x.cos(),
                                                       x.clamp(-0.5), x.pow(3), x.abs().pow(s.e), F.threshold(x, 0, 0),
                                                       torch.maximum(x, s.p), torch.atan(x), F.glu(x, -1),
                                                       x / (1.5 + (s.p * x) ** 2)], -1) * s.w, p=T(1), e=torch.rand(1) + 1,
                               w=T(6 * 19 + 3)), lambda: (T(4, 6),), TS),
    "reductions": (lambda: Fn(lambda s, x: torch.cat([
        (x * s.w).sum(1), x.mean((1, 2))[:, None] * s.v, x.amax(1), x.amin(2)[:, :5], x.prod(1), x.norm(dim=1),
        x.logsumexp(1), x.std(1), x.var(1), x.cumsum(1)[:, 1], x.norm(p=1, dim=1), F.normalize(x, dim=1)[:, 0],
        x.softmax(1)[:, 2], x.log_softmax(2)[:, 1]], 1), w=T(5, 5), v=T(5)), lambda: (T(3, 5, 5),), BOTH),
    "indexing": (lambda: Fn(lambda s, x: torch.cat([
        x[:, ::2].flatten(1), x[:, 1:, -3:-1].flatten(1), x.gather(1, s.i.expand(2, -1, 6)).flatten(1),
        x.flip(1).flatten(1), torch.tril(x @ s.w).flatten(1), x.repeat(1, 2, 1).flatten(1), x.unfold(1, 2, 1).flatten(1),
        x.index_select(2, s.i.flatten()).flatten(1), torch.where(x > 0, x, x * s.v).flatten(1),
        x.masked_fill(x > 1, 0.5).flatten(1), x.topk(3, 1).values.flatten(1), x.sort(1).values.flatten(1)], 1), w=T(6, 6), v=T(6)),
        lambda: (T(2, 6, 6),), BOTH),
    "convnext": (lambda: Fn(lambda s, x: x + s.g[:, None, None] * s.p(s.n(s.d(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2),
                            d=nn.Conv2d(4, 4, 7, padding=3, groups=4), n=nn.LayerNorm(4),
                            p=S(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)), g=T(4)), image, TS),
    "rms_norm": (lambda: Fn(lambda s, x: s.o(F.silu(s.g(s.n(x))) * s.u(x)), n=nn.RMSNorm(6), g=nn.Linear(6, 8),
                            u=nn.Linear(6, 8), o=nn.Linear(8, 3)), lambda: (T(2, 3, 6),), DYNAMO),
    "rotary": (lambda: Fn(rotary, q=nn.Linear(4, 12), k=nn.Linear(4, 12)), lambda: (T(2, 5, 4),), BOTH),
    "norms": (lambda: Fn(norms, c=nn.Conv2d(4, 6, 3), w=T(6), b=T(6), v=T(6), d=T(6)), image, TS),
    "bilinear": (lambda: Fn(lambda s, x, y: s.b(x, y), b=nn.Bilinear(3, 4, 2)), lambda: (T(5, 3), T(5, 4)), DYNAMO),
    "grid_sample": (lambda: Fn(lambda s, x, g: F.grid_sample(s.c(x), torch.tanh(g * s.w), align_corners=False),
                               c=nn.Conv2d(4, 3, 1), w=T(2)), lambda: (T(2, 4, 5, 6), T(2, 3, 4, 2)), BOTH),
}
MODELS |= torch_models.models(Fn) | torch_blocks.models(Fn)
# Indices that models keep as buffers.
BUFFERS = {"indexing": {"i": torch.tensor([[[3], [0], [3], [5]]])}}


def match(array, parameters):
    """The parameter that an initializer holds, and its gradient in the initializer's layout."""
    for same in (True, False):
        for name, value, gradient in parameters:
            if gradient is None or value.size != array.size:
                continue
            if same and value.shape == array.shape and np.array_equal(value, array):
                return name, gradient
            for perm in [] if same else itertools.permutations(range(value.ndim)):
                if np.array_equal(np.transpose(value, perm).reshape(-1), array.reshape(-1)):
                    return name, np.transpose(gradient, perm).reshape(array.shape)
    return None, None


def keep_scopes_alone(nodes):
    """Of the nodes' metadata the module paths stay; stack traces hold paths of the machine. In branches and bodies too."""
    for node in nodes:
        kept = [(entry.key, entry.value) for entry in node.metadata_props if entry.key.endswith("name_scopes")]
        del node.metadata_props[:]
        for key, value in kept:
            node.metadata_props.add(key=key, value=value)
        for attribute in node.attribute:
            keep_scopes_alone(attribute.g.node)
            for graph in attribute.graphs:
                keep_scopes_alone(graph.node)


def export(model, inputs, names, exporter, path):
    if exporter.startswith("ts"):
        torch.onnx.export(model, inputs, path, dynamo=False, opset_version=int(exporter[2:]), input_names=names,
                          output_names=["y"], training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)
        return
    torch.onnx.export(model, inputs, None, dynamo=True, opset_version=int(exporter[6:]), input_names=names,
                      output_names=["y"], external_data=False, verbose=False).save(path)
    proto = onnx.load(path)
    keep_scopes_alone(proto.graph.node)
    for function in proto.functions:
        keep_scopes_alone(function.node)
    onnx.save(proto, path)


def truth(model, inputs, names):
    inputs = [x.requires_grad_() if x.is_floating_point() else x for x in inputs]
    y = model(*inputs)
    seed = torch.randn_like(y)
    y.backward(seed)
    arrays = {f"in.{name}": x.detach().numpy() for name, x in zip(names, inputs)}
    arrays |= {"out.y": y.detach().numpy(), "seed.y": seed.numpy()}
    arrays |= {f"grad_in.{name}": x.grad.numpy() for name, x in zip(names, inputs) if x.grad is not None}
    return arrays


def make(name, folder):
    build, inputs, exporters = MODELS[name]
    for exporter in exporters:
        torch.manual_seed(sum(map(ord, name)))
        model = build()
        for key, value in BUFFERS.get(name, {}).items():
            model.register_buffer(key, value)
        for parameter in model.parameters():  # no two alike, none 0 or 1
            if parameter.ndim == 1:
                parameter.data += 0.1 * torch.randn_like(parameter)
        arguments = inputs()
        names = [f"x{i}" for i in range(len(arguments))]
        path = os.path.join(folder, f"{name}.{exporter}.onnx")
        state = {key: value.clone() for key, value in model.state_dict().items()}
        export(model, arguments, names, exporter, path)
        model.load_state_dict(state)
        arrays = truth(model, arguments, names)
        parameters = [(key, p.detach().numpy(), None if p.grad is None else p.grad.numpy())
                      for key, p in model.named_parameters()]
        used = set()
        for tensor in onnx.load(path).graph.initializer:
            array = numpy_helper.to_array(tensor)
            key, gradient = match(array, parameters) if array.dtype == np.float32 else (None, None)
            if key is not None and key not in used:
                used.add(key)
                arrays[f"grad.{tensor.name}"] = gradient
        np.savez_compressed(path[:-5] + ".npz", **arrays)
        print(f"{name}.{exporter}: {len(used)} of {len(parameters)} parameters, {os.path.getsize(path)} bytes", flush=True)


def main():
    folder, names = sys.argv[1], sys.argv[2:] or list(MODELS)
    os.makedirs(folder, exist_ok=True)
    for name in names:
        try:
            make(name, folder)
        except Exception as error:  # an exporter that cannot: the other models are made all the same
            print(f"{name}: {type(error).__name__}: {str(error)[:300]}", flush=True)


if __name__ == "__main__":
    main()
