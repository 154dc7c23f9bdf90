"""Writes the models of this folder: small nets, each exported at batch 1, at batch 8 and with an open batch.

usage: make_models.py   (torch 2.13, onnx 1.23)

NET.EXPORTER.batch_N.onnx, by the TorchScript exporter at opset 17 (ts) and by the one of torch.export at opset 18
(dyn). Weights of more than 64 elements are left out: they are external tensors of a weights.bin that is not there.
"""
import math
import os
import warnings

import onnx
import torch
import torch.nn.functional as F
from torch import nn

warnings.filterwarnings("ignore")
FOLDER = os.path.dirname(os.path.abspath(__file__))


class Attention(nn.Module):
    def __init__(self, width, heads, causal=False, fused=False):
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads, self.causal, self.fused = heads, causal, fused

    def forward(self, x, mask=None):
        batch, rows, width = x.shape
        head = width // self.heads
        q, k, v = self.qkv(x).reshape(batch, rows, 3, self.heads, head).permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        else:
            scores = q @ k.transpose(-2, -1) / math.sqrt(head)
            if self.causal:
                scores = scores.masked_fill(torch.ones(rows, rows, dtype=torch.bool).triu(1), float("-inf"))
            if mask is not None:
                scores = scores + mask
            y = scores.softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(batch, rows, width))


class Block(nn.Module):
    def __init__(self, width, heads, **kind):
        super().__init__()
        self.n1, self.n2, self.a = nn.LayerNorm(width), nn.LayerNorm(width), Attention(width, heads, **kind)
        self.m = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x, mask=None):
        x = x + self.a(self.n1(x), mask)
        return x + self.m(self.n2(x))


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        self.p, self.h = nn.Conv2d(3, 16, 4, 4), nn.Linear(16, 10)
        self.c, self.e = nn.Parameter(torch.randn(1, 1, 16)), nn.Parameter(torch.randn(1, 17, 16))
        self.b = nn.Sequential(Block(16, 2, fused=True), Block(16, 2))

    def forward(self, x):
        y = self.p(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.c.expand(x.shape[0], -1, -1), y], 1) + self.e
        return self.h(self.b(y)[:, 0])


class Gpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.t, self.p, self.l = nn.Embedding(30, 16), nn.Embedding(16, 16), nn.Linear(16, 30, bias=False)
        self.b = nn.ModuleList([Block(16, 2, causal=True), Block(16, 2, causal=True, fused=True)])

    def forward(self, x):
        y = self.t(x) + self.p(torch.arange(x.shape[1]))
        for block in self.b:
            y = block(y)
        return self.l(y)


class Bert(nn.Module):
    def __init__(self):
        super().__init__()
        self.t, self.p, self.ty = nn.Embedding(30, 16), nn.Embedding(16, 16), nn.Embedding(2, 16)
        self.n, self.b = nn.LayerNorm(16), nn.ModuleList([Block(16, 2), Block(16, 2)])
        self.l, self.pool = nn.Linear(16, 2), nn.Linear(16, 16)

    def forward(self, x, seen):
        batch, rows = x.shape
        positions = torch.arange(rows).unsqueeze(0).expand(batch, rows)
        y = self.n(self.t(x) + self.p(positions) + self.ty(torch.zeros(batch, rows, dtype=torch.long)))
        mask = (1.0 - seen[:, None, None, :].float()) * -1e9
        for block in self.b:
            y = block(y, mask)
        return self.l(torch.tanh(self.pool(y[:, 0])))


class SwinBlock(nn.Module):
    """Windows of `size`, shifted by `shift`, of a square of `side`."""

    def __init__(self, width, heads, size, shift, side):
        super().__init__()
        self.n1, self.n2, self.a = nn.LayerNorm(width), nn.LayerNorm(width), Attention(width, heads)
        self.m = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.size, self.shift = size, shift
        self.register_buffer("mask", None)
        if shift:
            image = torch.zeros(1, side, side, 1)
            parts = (slice(0, -size), slice(-size, -shift), slice(-shift, None))
            for i, rows in enumerate(parts):
                for j, columns in enumerate(parts):
                    image[:, rows, columns] = 3 * i + j
            windows = self.split(image).squeeze(-1)
            self.mask = (windows[:, None] != windows[:, :, None]).float() * -100

    def split(self, x):
        batch, height, width, channels = x.shape
        size = self.size
        x = x.view(batch, height // size, size, width // size, size, channels)
        return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, size * size, channels)

    def forward(self, x):
        batch, height, width, channels = x.shape
        size, heads = self.size, self.a.heads
        y = self.n1(x)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
        y = self.split(y)
        n = y.shape[0]
        q, k, v = self.a.qkv(y).reshape(n, size * size, 3, heads, channels // heads).permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q * (channels // heads) ** -0.5) @ k.transpose(-2, -1)
        if self.mask is not None:
            windows = self.mask.shape[0]
            scores = scores.view(n // windows, windows, heads, size * size, size * size) + self.mask[:, None][None]
            scores = scores.view(-1, heads, size * size, size * size)
        y = self.a.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, size * size, channels))
        y = y.view(batch, height // size, width // size, size, size, channels)
        y = y.permute(0, 1, 3, 2, 4, 5).reshape(batch, height, width, channels)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), (1, 2))
        x = x + y
        return x + self.m(self.n2(x))


class Merge(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.r = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x):
        return self.r(torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1))


class Swin(nn.Module):
    def __init__(self):
        super().__init__()
        self.p, self.h = nn.Conv2d(3, 8, 2, 2), nn.Linear(16, 10)
        self.b = nn.Sequential(SwinBlock(8, 2, 4, 0, 16), SwinBlock(8, 2, 4, 2, 16), Merge(8),
                               SwinBlock(16, 2, 4, 0, 8), SwinBlock(16, 2, 4, 2, 8))

    def forward(self, x):
        return self.h(self.b(self.p(x).permute(0, 2, 3, 1)).mean((1, 2)))


class LearnedStateGru(nn.Module):
    def __init__(self):
        super().__init__()
        self.g, self.n, self.h = nn.GRU(6, 8), nn.GroupNorm(2, 8), nn.Parameter(torch.randn(1, 1, 8))

    def forward(self, x):
        y, _ = self.g(x.transpose(0, 1), self.h.expand(1, x.shape[0], 8).contiguous())
        return self.n(y.permute(1, 2, 0))


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.e, self.o = nn.Embedding(20, 8), nn.Linear(24, 20)
        self.l = nn.LSTM(8, 12, 2, batch_first=True, bidirectional=True)

    def forward(self, x):
        return self.o(self.l(self.e(x))[0])


class ConstantShapes(nn.Module):
    """Every size is a number of Python's."""

    def __init__(self):
        super().__init__()
        self.c, self.f, self.g = nn.Conv2d(3, 4, 3, 2, 1), nn.Linear(4 * 16, 10), nn.Linear(10, 12)

    def forward(self, x):
        batch = int(x.shape[0])
        y = self.g(self.f(self.c(x).reshape(batch, -1))).reshape(batch, 3, 4)
        twos, zeros = torch.ones(batch, 3, 4) * 2, torch.zeros(batch, 1, 4)
        return torch.cat([y * twos, zeros.expand(batch, 2, 4)], 1).transpose(1, 2).reshape(batch * 4, 5)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()

        def convolution(inputs, outputs):
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs), nn.ReLU())

        self.a, self.b, self.d = convolution(3, 8), convolution(8, 16), convolution(16, 8)
        self.u, self.o = nn.ConvTranspose2d(16, 8, 2, 2), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(F.max_pool2d(a, 2))
        wide = F.interpolate(b, scale_factor=2, mode="bilinear")
        return self.o(self.d(torch.cat([a, self.u(b) + wide[:, :8]], 1)))


NETS = {
    "vit": (ViT, lambda n: (torch.randn(n, 3, 16, 16),)),
    "gpt": (Gpt, lambda n: (torch.randint(0, 30, (n, 8)),)),
    "bert": (Bert, lambda n: (torch.randint(0, 30, (n, 8)), torch.ones(n, 8, dtype=torch.long))),
    "swin": (Swin, lambda n: (torch.randn(n, 3, 32, 32),)),
    "gru0": (LearnedStateGru, lambda n: (torch.randn(n, 5, 6),)),
    "lstm": (Lstm, lambda n: (torch.randint(0, 20, (n, 7)),)),
    "flat": (ConstantShapes, lambda n: (torch.randn(n, 3, 8, 8),)),
    "unet": (UNet, lambda n: (torch.randn(n, 3, 16, 16),)),
}
FIXED_ONLY = ("flat", "swin")


def export(net, inputs, exporter, batch, path):
    names = [f"x{i}" for i in range(len(inputs))]
    if exporter == "ts":
        options = dict(dynamo=False, opset_version=17)
        if batch is None:
            options["dynamic_axes"] = {name: {0: "batch"} for name in names}
    else:
        options = dict(dynamo=True, opset_version=18, external_data=False, verbose=False)
        if batch is None:
            options["dynamic_shapes"] = tuple({0: torch.export.Dim("batch")} for _ in inputs)
    torch.onnx.export(net, inputs, path, input_names=names, **options)


def strip(path):
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= 64 or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "weights.bin"
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key == "pkg.torch.onnx.name_scopes"]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
        node.doc_string = ""
    with open(path, "wb") as file:
        file.write(model.SerializeToString())


def main():
    for name, (make, inputs) in NETS.items():
        torch.manual_seed(0)
        net = make().eval()
        for batch in (1, 8, None):
            if batch is None and name in FIXED_ONLY:
                continue
            for exporter in ("ts", "dyn"):
                path = os.path.join(FOLDER, f"{name}.{exporter}.batch_{batch or 'any'}.onnx")
                export(net, inputs(batch or 3), exporter, batch, path)
                strip(path)


if __name__ == "__main__":
    main()
