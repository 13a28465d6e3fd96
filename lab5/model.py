"""1.1 and 1.2: the network of the assignment, and its weights.

The parameter names are those of the handed-out resnet18.py, so the teacher's checkpoint loads as it is.

In notebooks: ``BasicBlock``, ``ResNet18``, ``load_weights``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from lab5.assignment import NUM_CLASSES


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (N, in, H, W) -> (N, out, H / stride, W / stride)."""

    def __init__(self, inchannel, outchannel, stride=1):
        super().__init__()
        self.left = nn.Sequential(
            nn.Conv2d(inchannel, outchannel, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outchannel),
            nn.ReLU(inplace=True),
            nn.Conv2d(outchannel, outchannel, kernel_size=3, stride=1, padding=1, bias=False),
            nn.BatchNorm2d(outchannel),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or inchannel != outchannel:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inchannel, outchannel, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(outchannel),
            )

    def forward(self, x):
        return F.relu(self.left(x) + self.shortcut(x))


class ResNet18(nn.Module):
    """The CIFAR-10 ResNet18: (N, 3, 32, 32) -> (N, num_classes) logits, 11.2 million parameters."""

    def __init__(self, ResBlock, num_classes=NUM_CLASSES):
        super().__init__()
        self.inchannel = 64
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
        )
        self.layer1 = self.make_layer(ResBlock, 64, 2, stride=1)
        self.layer2 = self.make_layer(ResBlock, 128, 2, stride=2)
        self.layer3 = self.make_layer(ResBlock, 256, 2, stride=2)
        self.layer4 = self.make_layer(ResBlock, 512, 2, stride=2)
        self.fc = nn.Linear(512, num_classes)

    def make_layer(self, block, channels, num_blocks, stride):
        layers = []
        for s in [stride] + [1] * (num_blocks - 1):
            layers.append(block(self.inchannel, channels, s))
            self.inchannel = channels
        return nn.Sequential(*layers)

    def forward(self, x):
        out = self.conv1(x)  # (N, 64, 32, 32)
        out = self.layer1(out)  # (N, 64, 32, 32)
        out = self.layer2(out)  # (N, 128, 16, 16)
        out = self.layer3(out)  # (N, 256, 8, 8)
        out = self.layer4(out)  # (N, 512, 4, 4)
        out = F.avg_pool2d(out, 4)  # (N, 512, 1, 1)
        out = torch.flatten(out, 1)  # (N, 512)
        return self.fc(out)


def load_weights(model, state):
    """Load a state dict strictly and switch to eval mode: BatchNorm then uses its running statistics."""
    # what thop's FLOP counter left in the handed-out file: no weights
    state = {k: v for k, v in state.items() if not k.endswith(("total_ops", "total_params"))}
    model.load_state_dict(state)  # strict: a missing or unexpected name is an error
    model.eval()
