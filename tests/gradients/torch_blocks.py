"""Still more models for make_models.py: parts that published networks are made of."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class DeepUNet(nn.Module):
    """Three levels, learned upsampling, batch norms, skip connections added up at the coarsest."""

    def __init__(self):
        super().__init__()
        block = lambda i, o: nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.LeakyReLU(0.1))
        self.a, self.b, self.c = block(2, 3), block(3, 4), block(4, 6)
        self.up_b, self.up_a = nn.ConvTranspose2d(6, 4, 2, 2), nn.ConvTranspose2d(4, 3, 4, 2, 1)
        self.back_b, self.back_a, self.end = block(4, 4), block(6, 3), nn.Conv2d(3, 2, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(F.max_pool2d(a, 2))
        y = self.back_b(self.up_b(self.c(F.avg_pool2d(b, 2))) + b)
        return self.end(self.back_a(torch.cat([self.up_a(y), a], 1)))


class AxialAttention(nn.Module):
    """Attention along the height, then along the width."""

    def __init__(self, dim=8, heads=2):
        super().__init__()
        self.rows, self.columns = (nn.MultiheadAttention(dim, heads, batch_first=True) for _ in range(2))

    @staticmethod
    def along(attention, x):  # [B, A, S, D]: over S
        flat = x.flatten(0, 1)
        return attention(flat, flat, flat, need_weights=False)[0].view(x.shape)

    def forward(self, x):
        x = x + self.along(self.rows, x)
        return x + self.along(self.columns, x.transpose(1, 2)).transpose(1, 2)


class RelativeBuckets(nn.Module):
    """T5's attention: no scale, logarithmic buckets of distances as a bias, RMS norm."""

    def __init__(self, dim=8, heads=2, buckets=6, length=7):
        super().__init__()
        self.heads, self.scale = heads, nn.Parameter(torch.rand(dim) + 0.5)
        self.q, self.k, self.v, self.o = (nn.Linear(dim, dim, bias=False) for _ in range(4))
        self.bias = nn.Embedding(buckets, heads)
        distance = torch.arange(length)[None] - torch.arange(length)[:, None]
        half, near = buckets // 2, distance.abs()
        far = 1 + (torch.log(near.clamp(min=1).float()) / math.log(8) * (half - 1)).long().clamp(max=half - 2)
        self.register_buffer("bucket", (distance > 0) * half + torch.where(near < 1, near, far))

    def forward(self, x):
        b, s, d = x.shape
        y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.scale
        q, k, v = (p(y).view(b, s, self.heads, -1).transpose(1, 2) for p in (self.q, self.k, self.v))
        weights = (q @ k.transpose(2, 3) + self.bias(self.bucket).permute(2, 0, 1)[None]).softmax(-1)
        return x + self.o((weights @ v).transpose(1, 2).reshape(b, s, d))


class Capacity(nn.Module):
    """The best two of three experts, at most so many tokens each: tokens that come too late pass by."""

    def __init__(self, dim=6, experts=3, capacity=3):
        super().__init__()
        self.gate, self.capacity = nn.Linear(dim, experts, bias=False), capacity
        self.up, self.down = nn.Parameter(torch.randn(experts, dim, 5)), nn.Parameter(torch.randn(experts, 5, dim))

    def forward(self, x):
        weight, which = self.gate(x).softmax(-1).topk(2, -1)
        chosen = F.one_hot(which, 3).sum(1)
        place = chosen.cumsum(0) - chosen
        kept = (chosen * (place < self.capacity)).float()
        slot = F.one_hot(place.clamp(max=self.capacity - 1), self.capacity).float() * kept[..., None]  # [T, E, C]
        share = torch.zeros(x.shape[0], 3).scatter(1, which, weight / weight.sum(-1, keepdim=True))
        inside = torch.einsum("tec,td->ecd", slot, x)
        outside = torch.bmm(F.gelu(torch.bmm(inside, self.up)), self.down)
        return x + torch.einsum("tec,ecd,te->td", slot, outside, share)


class Perceiver(nn.Module):
    """A few learned queries read a long input, and one another."""

    def __init__(self, dim=8, heads=2):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(3, dim))
        self.cross = nn.MultiheadAttention(dim, heads, kdim=5, vdim=5, batch_first=True)
        self.own = nn.MultiheadAttention(dim, heads, batch_first=True, add_bias_kv=True)
        self.norm, self.end = nn.LayerNorm(dim), nn.Linear(dim, 4)

    def forward(self, x):
        y = self.latents.expand(x.shape[0], -1, -1)
        y = y + self.cross(y, x, x, need_weights=False)[0]
        z = self.norm(y)
        return self.end((y + self.own(z, z, z, need_weights=False)[0]).mean(1))


class Gathered(nn.Module):
    """Every position reads the input where learned offsets say, between the elements: deformable, in one dimension."""

    def __init__(self, channels=3, taps=3):
        super().__init__()
        self.offset, self.weight = nn.Conv1d(channels, taps, 3, padding=1), nn.Parameter(torch.randn(4, channels, taps))

    def forward(self, x):
        n, c, length = x.shape
        base = torch.arange(length) + torch.arange(-1.0, 2.0)[:, None]
        at = (base + torch.tanh(self.offset(x)) * 1.5).clamp(0, length - 1.001)  # [N, taps, L]
        low = at.detach().floor()
        part = (at - low)[:, None]
        index = low.long()[:, None].expand(-1, c, -1, -1).flatten(2)
        left, right = x.gather(2, index).view(n, c, -1, length), x.gather(2, index + 1).view(n, c, -1, length)
        return torch.einsum("ncts,oct->nos", left * (1 - part) + right * part, self.weight)


class Style(nn.Module):
    """Instance norms whose scale and bias another network gives, reflection padding, nearest upsampling."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.affine = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 3, 3), nn.Linear(5, 8)

    def forward(self, x, style):
        x = F.instance_norm(self.a(F.pad(x, (1, 1, 1, 1), "reflect")))
        scale, bias = self.affine(style)[:, :, None, None].chunk(2, 1)
        x = F.interpolate(torch.relu(x * (1 + scale) + bias), scale_factor=2.0)
        return torch.tanh(self.b(F.pad(x, (1, 1, 1, 1), "reflect")))


def shuffled(s, x):
    """ShuffleNet's unit: half of the channels convolved in groups, then channels mixed."""
    a, b = x.chunk(2, 1)
    b = s.c(s.b(s.a(b)))
    x = torch.cat([a, b], 1)
    n, c, h, w = x.shape
    return s.d(x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))


def bag(s, ids):
    """Sum, mean and maximum of embeddings; the mean weighted."""
    weight = torch.softmax(s.w[ids], 1)[..., None]
    return s.o(torch.cat([s.e(ids).sum(1), (s.e(ids) * weight).sum(1), s.f(ids).amax(1)], -1))


def normalized_weight(s, x):
    """A spectral norm by one step of the power method, through which gradients go."""
    v = F.normalize(s.w.t() @ s.u, dim=0)
    u = F.normalize(s.w @ v, dim=0)
    return F.linear(torch.tanh(x), s.w / torch.einsum("i,ij,j->", u, s.w, v), s.b)


def losses(s, x, y):
    """Huber, smooth L1, Kullback-Leibler, cosine and margin losses in one number each."""
    a, b = s.a(x), s.a(y)
    return torch.stack([
        F.huber_loss(a, b, delta=0.5), F.smooth_l1_loss(a, b, beta=0.3), F.kl_div(a.log_softmax(-1), b.softmax(-1), reduction="batchmean"),
        (1 - F.cosine_similarity(a, b, dim=-1)).mean(), F.relu(0.5 - F.cosine_similarity(a, b.flip(0), dim=-1)).mean(),
        F.triplet_margin_loss(a, b, b.flip(0), margin=1.0), F.softplus(-(a * b).sum(-1)).mean(), F.soft_margin_loss(a, b.sign().detach())])


def gumbel(s, x):
    """A soft choice of codes at a temperature, and what it is off."""
    soft = ((x @ s.codes.t() - (x[:, None] - s.codes).pow(2).sum(-1)) / 0.7).softmax(-1)
    y = soft @ s.codes
    return torch.cat([y, (y - x).square() * soft.amax(-1, keepdim=True)], -1)


def gated(s, x):
    """A gated recurrence spelled out: convolution, two gates, a running product."""
    a, b = s.c(F.pad(x, (2, 0))).transpose(1, 2).chunk(2, -1)
    keep = torch.sigmoid(a)
    decay = torch.cumsum(torch.log(keep), 1)
    return s.o(torch.exp(decay) * torch.cumsum(torch.exp(-decay) * (1 - keep) * torch.tanh(b), 1))


def speech(s, x):
    """Convolutions over time and frequency, a bidirectional GRU, log-probabilities of every frame."""
    x = F.hardtanh(s.a(x[:, None]), 0, 6)
    x = x.permute(0, 3, 1, 2).flatten(2)
    return s.o(s.r(x)[0]).log_softmax(-1)


ALL, OLD, NEW = ("ts17", "dynamo18"), ("ts17",), ("dynamo18",)
T, S = torch.randn, nn.Sequential
I = lambda high, *shape: torch.randint(0, high, shape)


def models(Fn):
    return {
        "deep_unet": (DeepUNet, lambda: (T(2, 2, 8, 8),), OLD),
        "axial_attention": (AxialAttention, lambda: (T(2, 3, 4, 8),), OLD),
        "relative_buckets": (RelativeBuckets, lambda: (T(2, 7, 8),), ALL),
        "capacity_experts": (Capacity, lambda: (T(7, 6),), ALL),
        "perceiver": (Perceiver, lambda: (T(2, 6, 5),), ALL),
        "gathered": (Gathered, lambda: (T(2, 3, 9),), OLD),
        "style_transfer": (Style, lambda: (T(2, 3, 6, 6), T(2, 5)), ALL),
        "channel_shuffle": (lambda: Fn(shuffled, a=nn.Conv2d(4, 4, 1), b=S(nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.ReLU6()),
                                       c=nn.Conv2d(4, 4, 1, groups=2), d=nn.PixelUnshuffle(2)), lambda: (T(2, 8, 6, 6),), ALL),
        "embedding_bag": (lambda: Fn(bag, e=nn.Embedding(9, 4), f=nn.Embedding(9, 4), w=T(9), o=nn.Linear(12, 3)),
                          lambda: (I(9, 3, 6),), ALL),
        "spectral_norm": (lambda: Fn(normalized_weight, w=T(4, 5), u=T(4), b=T(4)), lambda: (T(3, 5),), OLD),
        "metric_losses": (lambda: Fn(losses, a=nn.Linear(5, 4)), lambda: (T(6, 5), T(6, 5)), NEW),
        "code_book": (lambda: Fn(gumbel, codes=T(5, 4)), lambda: (T(6, 4),), ALL),
        "gated_recurrence": (lambda: Fn(gated, c=nn.Conv1d(3, 8, 3), o=nn.Linear(4, 2)), lambda: (T(2, 3, 7),), ALL),
        "speech": (lambda: Fn(speech, a=nn.Conv2d(1, 3, (5, 3), (2, 1), (2, 1)), r=nn.GRU(12, 4, bidirectional=True,
                                                                                          batch_first=True),
                              o=nn.Linear(8, 5)), lambda: (T(2, 8, 7),), OLD),
        "lstm_deep": (lambda: Fn(lambda s, x: s.o(s.r(x)[0]), r=nn.LSTM(3, 5, 2, bidirectional=True),
                                      o=nn.Linear(10, 2)), lambda: (T(4, 2, 3),), OLD),
        "volume_replicated": (lambda: S(nn.ReplicationPad3d(1), nn.Conv3d(2, 4, 3, stride=(1, 2, 2)), nn.GELU(),
                                        nn.Conv3d(4, 4, 3, padding=1, groups=4), nn.AdaptiveAvgPool3d(1), nn.Flatten(),
                                        nn.Linear(4, 3)), lambda: (T(1, 2, 4, 6, 5),), ALL),
    }
