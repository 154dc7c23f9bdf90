"""Three steps of each optimizer by torch.optim: the truths of check_optimizers.py. Run by hand, with torch 2.13.0.

    python make_optimizers.py optimizers.npz

The model is y = x W + b. Keys: `<case>.x<t>`, `.seed<t>` (the gradient of y) and `.W<t>`, `.b<t>` after t steps.
With `<case>.handling.<flag>` (clip_norm, accumulate, loss_scale) a step t has micro-batches `.x<t>.<i>`. Infinite
gradients, which a scaled loss must leave out, are in the case "adam.scale": `.x<t>` of step 2 has an infinity.
LAMB, which torch.optim has not, is written down as in You et al. 2020, algorithm 2, with bias correction.
"""

import sys

import numpy as np
import torch


class Lamb(torch.optim.Optimizer):
    def __init__(self, parameters, lr, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01):
        super().__init__(parameters, dict(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                state = self.state[p]
                state.setdefault("t", 0)
                state["t"] += 1
                m = state.setdefault("m", torch.zeros_like(p)).mul_(b1).add_(p.grad, alpha=1 - b1)
                v = state.setdefault("v", torch.zeros_like(p)).mul_(b2).addcmul_(p.grad, p.grad, value=1 - b2)
                r = (m / (1 - b1 ** state["t"])) / ((v / (1 - b2 ** state["t"])).sqrt() + group["eps"])
                u = r + group["weight_decay"] * p
                p.sub_(group["lr"] * (p.norm() / u.norm()) * u)


SGD, Adam, AdamW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
# name: how it is made. The part before the dot is --optimizer, the settings go to --optimizer-setting.
CASES = {
    "sgd": (SGD, {}),
    "sgd.decay": (SGD, dict(weight_decay=0.1)),
    "momentum": (SGD, dict(momentum=0.9)),
    "momentum.nesterov": (SGD, dict(momentum=0.8, nesterov=True, weight_decay=0.05)),
    "momentum.dampening": (SGD, dict(momentum=0.7, dampening=0.3)),
    "adam": (Adam, {}),
    "adam.settings": (Adam, dict(betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
    "adamw": (AdamW, {}),
    "adamw.settings": (AdamW, dict(betas=(0.8, 0.95), eps=1e-6, weight_decay=0.2)),
    "adagrad": (torch.optim.Adagrad, {}),
    "adagrad.settings": (torch.optim.Adagrad, dict(lr_decay=0.2, weight_decay=0.1)),
    "rmsprop": (torch.optim.RMSprop, {}),
    "rmsprop.settings": (torch.optim.RMSprop, dict(alpha=0.9, weight_decay=0.1)),
    "rmsprop.momentum": (torch.optim.RMSprop, dict(momentum=0.8)),
    "rmsprop.centered": (torch.optim.RMSprop, dict(centered=True)),
    "rmsprop.both": (torch.optim.RMSprop, dict(momentum=0.7, centered=True, alpha=0.95, weight_decay=0.05)),
    "sgd.momentum": (SGD, dict(momentum=0.9, nesterov=True)),
    # What happens to gradients before the step: clip_norm, accumulate, loss_scale.
    "sgd.clip": (SGD, {}, dict(clip_norm=0.5)),
    "adam.clip": (Adam, {}, dict(clip_norm=1.5)),
    "sgd.clip-above": (SGD, {}, dict(clip_norm=1e6)),
    "momentum.accumulate": (SGD, dict(momentum=0.9), dict(accumulate=3)),
    "adamw.accumulate": (AdamW, {}, dict(accumulate=2)),
    "adam.scale": (Adam, {}, dict(loss_scale=1024.0)),
    "rmsprop.all": (torch.optim.RMSprop, dict(momentum=0.5), dict(clip_norm=0.7, accumulate=2, loss_scale=64.0)),
    "lamb": (Lamb, {}),
    "lamb.settings": (Lamb, dict(betas=(0.8, 0.95), weight_decay=0.1)),
}
RATE = 0.05


def settings_of(name, options):
    flat = {key: float(value) for key, value in options.items() if key != "betas"}
    for i, beta in enumerate(options.get("betas", ())):
        flat[f"beta{i + 1}"] = beta
    return flat


def main():
    arrays = {}
    for name, (make, options, *handling) in CASES.items():
        handling = handling[0] if handling else {}
        torch.manual_seed(sum(map(ord, name)))
        w, b = torch.randn(4, 3, requires_grad=True), torch.randn(3, requires_grad=True)
        optimizer = make([w, b], lr=RATE, **options)
        scaler = torch.amp.GradScaler("cpu", init_scale=handling.get("loss_scale", 1.0), growth_interval=10**6,
                                      backoff_factor=1.0 - 1e-12, enabled="loss_scale" in handling)
        arrays[f"{name}.W0"], arrays[f"{name}.b0"] = w.detach().numpy().copy(), b.detach().numpy().copy()
        for key, value in settings_of(name, options).items():
            arrays[f"{name}.setting.{key}"] = np.float64(value)
        for key, value in handling.items():
            arrays[f"{name}.handling.{key}"] = np.float64(value)
        micro_batches = handling.get("accumulate", 1)
        for t in (1, 2, 3):
            optimizer.zero_grad()
            for i in range(micro_batches):
                x, seed = torch.randn(5, 4), torch.randn(5, 3)
                if name == "adam.scale" and t == 2:
                    x[0, 0] = float("inf")
                scaler.scale((x @ w + b).mul(seed).sum() / micro_batches).backward()
                suffix = f"{t}.{i}" if micro_batches > 1 else f"{t}"
                arrays |= {f"{name}.x{suffix}": x.numpy(), f"{name}.seed{suffix}": seed.numpy()}
            scaler.unscale_(optimizer)
            if "clip_norm" in handling:
                torch.nn.utils.clip_grad_norm_([w, b], handling["clip_norm"])
            scaler.step(optimizer)
            scaler.update()
            arrays |= {f"{name}.W{t}": w.detach().numpy().copy(), f"{name}.b{t}": b.detach().numpy().copy()}
    np.savez_compressed(sys.argv[1], **arrays)


if __name__ == "__main__":
    main()
