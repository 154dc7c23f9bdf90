"""More models for make_models.py: whole blocks as they are published, small."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        block = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.GroupNorm(2, o), nn.SiLU())
        self.down, self.mid, self.up, self.end = block(3, 4), block(4, 6), block(10, 4), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        a = self.down(x)
        b = self.mid(F.max_pool2d(a, 2))
        b = F.interpolate(b, size=a.shape[-2:], mode="bilinear", align_corners=True)
        return self.end(self.up(torch.cat([a, b], 1)))


class Llama(nn.Module):
    """Grouped queries, rotary positions, RMS norms, a gated unit, and the embedding as output layer."""

    def __init__(self, vocabulary=11, dim=16, heads=4, kv=2):
        super().__init__()
        self.heads, self.kv, self.size = heads, kv, dim // heads
        self.embed = nn.Embedding(vocabulary, dim)
        self.norm1, self.norm2 = nn.Parameter(torch.ones(dim) + 0.1 * torch.randn(dim)), nn.Parameter(torch.randn(dim))
        self.q, self.o = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.k, self.v = nn.Linear(dim, kv * self.size, bias=False), nn.Linear(dim, kv * self.size, bias=False)
        self.gate, self.up, self.down = (nn.Linear(a, b, bias=False) for a, b in [(dim, 24), (dim, 24), (24, dim)])

    @staticmethod
    def normed(x, scale):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * scale

    def rotated(self, x):
        half = self.size // 2
        angle = torch.arange(x.shape[2])[:, None] / 10.0 ** (torch.arange(half) / half)
        cos, sin = torch.cat([angle.cos()] * 2, -1), torch.cat([angle.sin()] * 2, -1)
        return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin

    def forward(self, ids):
        x = self.embed(ids)
        b, s, d = x.shape
        h = self.normed(x, self.norm1)
        split = lambda y, n: y.view(b, s, n, self.size).transpose(1, 2)
        q, k, v = self.rotated(split(self.q(h), self.heads)), self.rotated(split(self.k(h), self.kv)), split(self.v(h), self.kv)
        k, v = (y.repeat_interleave(self.heads // self.kv, 1) for y in (k, v))
        scores = q @ k.transpose(-1, -2) / math.sqrt(self.size)
        scores = scores.masked_fill(torch.ones(s, s, dtype=torch.bool).triu(1), float("-inf"))
        x = x + self.o((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, s, d))
        h = self.normed(x, self.norm2)
        return (x + self.down(F.silu(self.gate(h)) * self.up(h))) @ self.embed.weight.t()


class WaveNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv1d(2, 6, 1)
        self.gates = nn.ModuleList(nn.Conv1d(6, 12, 2, dilation=2 ** i, groups=2) for i in range(3))
        self.outs = nn.ModuleList(nn.Conv1d(6, 9, 1) for _ in range(3))
        self.last = nn.Conv1d(3, 4, 1)

    def forward(self, x):
        x, skips = self.first(x), 0
        for i, (gate, out) in enumerate(zip(self.gates, self.outs)):
            a, b = gate(F.pad(x, (2 ** i, 0))).chunk(2, 1)
            residual, skip = out(torch.tanh(a) * torch.sigmoid(b)).split([6, 3], 1)
            x, skips = x + residual, skips + skip
        return self.last(F.relu(skips))


class Sparse(nn.Module):
    """Tokens sent to their best two experts by index_add, and a count of how many came."""

    def __init__(self, dim=6, experts=3):
        super().__init__()
        self.gate = nn.Linear(dim, experts)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(dim, 5), nn.GELU(), nn.Linear(5, dim)) for _ in range(experts))

    def forward(self, x):
        weights, which = torch.topk(F.softmax(self.gate(x), -1), 2, -1)
        out = torch.zeros_like(x)
        for e, expert in enumerate(self.experts):
            share = torch.where(which == e, weights, 0.0).sum(-1, keepdim=True)
            out = out + share * expert(x)
        position = which[:, :1].expand(-1, x.shape[1])
        return out + torch.zeros(3, x.shape[1]).scatter_add(0, position, x).gather(0, position)


class Squeeze(nn.Module):
    def __init__(self):
        super().__init__()
        self.deep, self.norm, self.point = nn.Conv2d(4, 4, 3, 2, 1, groups=4), nn.BatchNorm2d(4), nn.Conv2d(4, 6, 1)
        self.reduce, self.expand = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)

    def forward(self, x):
        x = F.hardswish(self.norm(self.deep(x)))
        scale = F.hardsigmoid(self.expand(F.relu(self.reduce(x.mean((2, 3), keepdim=True)))))
        return self.point(x * scale)


class Biased(nn.Module):
    """Attention with relative positions in buckets and slopes of ALiBi."""

    def __init__(self, dim=8, heads=2):
        super().__init__()
        self.heads, self.qkv, self.bias = heads, nn.Linear(dim, 3 * dim), nn.Embedding(4, heads)
        distance = torch.arange(5)[:, None] - torch.arange(5)[None]
        self.register_buffer("bucket", distance.abs().clamp(max=3))
        self.register_buffer("slopes", -distance.abs().float() * torch.tensor([0.5, 0.25])[:, None, None])

    def forward(self, x):
        b, s, d = x.shape
        q, k, v = self.qkv(x).view(b, s, 3, self.heads, -1).unbind(2)
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) + self.bias(self.bucket).permute(2, 0, 1) + self.slopes
        return torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), v).reshape(b, s, d)


class Norms(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6)
        self.c, self.d = nn.InstanceNorm1d(6), nn.LayerNorm([6, 7], elementwise_affine=True)
        self.e = nn.LocalResponseNorm(3)

    def forward(self, x):
        return self.e(self.d(self.c(self.b(self.a(x)))).abs())


class Distances(nn.Module):
    def __init__(self):
        super().__init__()
        self.centers = nn.Parameter(torch.randn(3, 4))

    def forward(self, x):
        near = (x[:, None] - self.centers).norm(dim=-1)
        cos = F.cosine_similarity(x[:, None], self.centers, dim=-1)
        return torch.cat([F.softmin(near, -1), cos, torch.cdist(x, self.centers), torch.cumsum(near * cos, 1)], 1)


class Losses(nn.Module):
    """Losses within the model."""

    def __init__(self):
        super().__init__()
        self.o = nn.Linear(6, 5)
        self.register_buffer("labels", torch.tensor([1, 4, -100, 0]))
        self.register_buffer("weight", torch.tensor([0.5, 1.0, 2.0, 0.7, 1.3]))

    def forward(self, x):
        y = self.o(x)
        t = torch.sigmoid(x[:, :5])
        return torch.stack([
            F.cross_entropy(y, self.labels, ignore_index=-100), F.cross_entropy(y, self.labels, self.weight, ignore_index=-100),
            F.binary_cross_entropy_with_logits(y, t), F.smooth_l1_loss(y, t), F.huber_loss(y, t, delta=0.4), F.l1_loss(y, t),
            F.mse_loss(y, t), F.kl_div(F.log_softmax(y, -1), F.softmax(t, -1), reduction="batchmean")])


def ties(s, x):
    """Equal candidates share what comes back."""
    y = x.round() * s.w
    return torch.cat([torch.maximum(y, s.w * 1.0), torch.minimum(y, -y), y.amax(1, keepdim=True), y.amin(0, keepdim=True).T,
                      y.clamp(-1, 1), F.relu(y), F.relu6(y * 3)], 1)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, 0.0, "gelu", batch_first=True, norm_first=True)

    def forward(self, x):
        return self.layer(x)


class Branch(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return torch.cond(x.sum() > 0, lambda x: torch.tanh(self.a(x)), lambda x: self.b(x) * self.a(x), (x,))


class Scripted(nn.Module):
    """A loop that TorchScript keeps, as its condition is data."""

    def __init__(self):
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(4, 4) * 0.4), nn.Parameter(torch.randn(4))

    def forward(self, x):
        h = x
        while bool((h * h).sum() < 60.0):
            h = h + torch.tanh(h @ self.w + self.b) * 0.5 + h * 0.2
        return h


def vector(s, x, y):
    return torch.bmm(s.a(x).unsqueeze(1), s.b(y).unsqueeze(2)).squeeze() * s.scale + torch.logsumexp(x, 1) / (1 + y.abs().sum(1))


EVERY = ("ts13", "ts17", "dynamo18", "dynamo21")
NEW = ("ts20", "dynamo18", "dynamo23")
S, T = nn.Sequential, torch.randn
I = lambda high, *shape: torch.randint(0, high, shape)


def models(Fn):
    return {
        "unet": (UNet, lambda: (T(2, 3, 8, 8),), EVERY),
        "llama": (Llama, lambda: (I(11, 2, 5),), ("ts17", "dynamo18", "dynamo21")),
        "wavenet": (WaveNet, lambda: (T(2, 2, 13),), EVERY),
        "sparse_experts": (Sparse, lambda: (T(7, 6),), ("ts17", "dynamo18", "dynamo21")),
        "squeeze": (Squeeze, lambda: (T(2, 4, 8, 8),), ("ts13", "ts17")),
        "biased_attention": (Biased, lambda: (T(2, 5, 8),), EVERY),
        "norm_chain": (Norms, lambda: (T(3, 4, 9),), ("ts13", "ts17")),
        "distances": (Distances, lambda: (T(5, 4),), ("ts13", "ts17")),
        "losses": (Losses, lambda: (T(4, 6),), ("dynamo18", "dynamo21")),
        "ties": (lambda: Fn(ties, w=torch.ones(4)), lambda: (T(4, 4) * 2,), EVERY),
        "encoder": (Encoder, lambda: (T(2, 5, 8),), EVERY),
        "cond": (Branch, lambda: (T(2, 4) + 1,), ("dynamo18", "dynamo21")),
        "cond_not": (Branch, lambda: (T(2, 4) - 1,), ("dynamo18",)),
        "loop": (lambda: torch.jit.script(Scripted()), lambda: (T(3, 4),), ("ts13", "ts17", "ts20")),
        "gru_states": (lambda: Fn(lambda s, x, h: s.o(s.r(x, h)[0]), r=nn.GRU(3, 4, 2, bidirectional=True), o=nn.Linear(8, 2)),
                       lambda: (T(5, 2, 3), T(4, 2, 4)), ("ts13", "ts20")),
        "lstm_projected": (lambda: Fn(lambda s, x: torch.cat(s.r(x)[1], -1), r=nn.LSTM(3, 4, 2, bidirectional=True)),
                           lambda: (T(5, 2, 3),), ("ts13", "ts20")),
        "super_resolution": (lambda: S(nn.Conv2d(3, 8, 3, padding=1), nn.PReLU(8), nn.PixelShuffle(2), nn.ReflectionPad2d(1),
                                       nn.Conv2d(2, 3, 3), nn.Upsample(scale_factor=1.5, mode="bicubic")),
                             lambda: (T(1, 3, 6, 6),), EVERY),
        "antialiased": (lambda: Fn(lambda s, x: F.interpolate(F.interpolate(s.c(x), size=(4, 5), mode="bilinear", antialias=True),
                                                              size=(9, 7), mode="bicubic", align_corners=True),
                                   c=nn.Conv2d(3, 2, 1)), lambda: (T(1, 3, 9, 11),), NEW),
        "weight_norm": (lambda: S(nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 4, 3)), nn.Tanh(),
                                  nn.utils.parametrizations.weight_norm(nn.Linear(6, 2))), lambda: (T(2, 3, 8),), EVERY),
        "volumes": (lambda: S(nn.Conv3d(2, 4, 3, padding=2, dilation=2, groups=2), nn.ReLU(), nn.AvgPool3d(2),
                              nn.ConvTranspose3d(4, 4, 3, 2, 1, groups=2), nn.InstanceNorm3d(4, affine=True), nn.MaxPool3d(2)),
                    lambda: (T(1, 2, 6, 6, 8),), EVERY),
        "repeated_embedding": (lambda: Fn(lambda s, ids: s.o(torch.tanh(s.e(ids)).mean(1) + s.e(ids).amax(1)),
                                        e=nn.Embedding(6, 4), o=nn.Linear(4, 3)), lambda: (I(6, 3, 7),), EVERY),
        "two_towers": (lambda: Fn(vector, a=nn.Linear(4, 5), b=nn.Linear(3, 5), scale=torch.ones(1) * 0.7),
                       lambda: (T(6, 4), T(6, 3)), EVERY),
        "rolled": (lambda: Fn(lambda s, x: torch.roll(s.c(torch.roll(x, 2, 3)), (-1, 1), (2, 3)).unfold(2, 3, 2).mean(-1),
                              c=nn.Conv2d(3, 2, (3, 1), padding=(1, 0), padding_mode="replicate")), lambda: (T(1, 3, 6, 6),),
                   EVERY),
    }
