"""The models of train_digits.py, exported before training, and PyTorch's curves on them. Run by hand, torch 2.13.0.

    python make_digits.py [STEPS]       # writes digits_cnn.onnx, digits_transformer.onnx and digits_pytorch.json
"""

import json
import os
import sys
import warnings

import torch
import torch.nn as nn

from train_digits import BATCH, FOLDER, RATES, batches, digits

warnings.filterwarnings("ignore")


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)
        self.pool, self.head = nn.MaxPool2d(2), nn.Linear(64 * 2 * 2, 10)

    def forward(self, image):
        x = self.pool(torch.relu(self.conv1(image)))
        return self.head(self.pool(torch.relu(self.conv2(x))).flatten(1))


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        n, t, width = x.shape
        q, k, v = (part.reshape(n, t, self.heads, -1).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, 2))
        scores = torch.softmax(q @ k.transpose(2, 3) * (width // self.heads) ** -0.5, 3)
        x = x + self.proj((scores @ v).transpose(1, 2).reshape(n, t, width))
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """A digit is 16 patches of 2 x 2 pixels."""

    def __init__(self, width=48, heads=4, layers=2):
        super().__init__()
        self.embed = nn.Conv2d(1, width, 2, stride=2)
        self.position = nn.Parameter(0.02 * torch.randn(1, 16, width))
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(16 * width, 10)

    def forward(self, image):
        x = self.embed(image).flatten(2).transpose(1, 2) + self.position
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x).flatten(1))


def main():
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    torch.set_num_threads(1)
    images, labels, held_out_images, held_out_labels = (torch.from_numpy(array) for array in digits())
    curves = {}
    for name, make in {"cnn": Cnn, "transformer": Transformer}.items():
        torch.manual_seed(0)
        model = make()
        torch.onnx.export(model, images[:BATCH], os.path.join(FOLDER, f"digits_{name}.onnx"), opset_version=17,
                          dynamo=False, training=torch.onnx.TrainingMode.TRAINING, do_constant_folding=False,
                          input_names=["image"], output_names=["scores"], dynamic_axes={"image": {0: "batch"}})
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATES[name])
        losses = []
        for at in batches(len(labels), steps):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[at]), labels[at])
            loss.backward()
            optimizer.step()
            losses.append(float(loss))
        with torch.no_grad():
            accuracy = float((model(held_out_images).argmax(1) == held_out_labels).double().mean())
        curves[name] = {"losses": [float(f"{value:.7g}") for value in losses], "accuracy": accuracy}
        print(name, losses[0], losses[-1], accuracy)
    with open(os.path.join(FOLDER, "digits_pytorch.json"), "w") as file:
        json.dump(curves, file)
        file.write("\n")


if __name__ == "__main__":
    main()
