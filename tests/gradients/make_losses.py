"""Losses and their gradients by PyTorch: the truths of check_losses.py.

    python make_losses.py losses.npz          # torch 2.13.0; nothing else runs this

For every loss: x and weight of a linear layer (or a 1x1 convolution), what the loss is held against, the loss, and the
gradient of the weight.
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F

CASES = {  # name: shape of x, shape of the weight, target, loss
    "cross-entropy.rows": ((6, 4), (4, 5), "labels", F.cross_entropy),
    "cross-entropy.sequence": ((2, 3, 4), (4, 5), "labels", lambda y, t: F.cross_entropy(y.flatten(0, 1), t)),
    "cross-entropy.image": ((2, 4, 3, 3), (5, 4, 1, 1), "labels", F.cross_entropy),
    "mse.rows": ((6, 4), (4, 5), "target", F.mse_loss),
    "mse.image": ((2, 4, 3, 3), (5, 4, 1, 1), "target", F.mse_loss),
    "sum.rows": ((6, 4), (4, 5), None, lambda y, t: y.sum()),
    "auto.rows": ((6, 4), (4, 5), "labels", F.cross_entropy),
    "auto.column": ((6, 4), (4, 1), "target", F.mse_loss),
}


def main():
    arrays = {}
    for name, (x_shape, w_shape, target, loss) in CASES.items():
        generator = torch.Generator().manual_seed(len(arrays))
        draw = lambda *shape: torch.randn(*shape, generator=generator)
        x, w = draw(*x_shape), draw(*w_shape).requires_grad_()
        y = x @ w if w.ndim == 2 else F.conv2d(x, w)
        t = None
        if target == "labels":
            shape = y.shape[:1] + y.shape[2:] if y.ndim == 4 else (y.shape[:-1].numel(),)
            t = torch.randint(0, y.shape[1 if y.ndim == 4 else -1], shape, generator=generator)
        elif target == "target":
            t = draw(*y.shape)
        value = loss(y, t)
        value.backward()
        arrays |= {f"{name}.x": x.numpy(), f"{name}.weight": w.detach().numpy(), f"{name}.loss": value.detach().numpy(),
                   f"{name}.grad": w.grad.numpy()}
        if target is not None:
            arrays[f"{name}.{target}"] = t.numpy()
    np.savez_compressed(sys.argv[1], **arrays)


if __name__ == "__main__":
    main()
