"""What torchmetrics' classes take for a network: features go in, and come out."""

from torch import Tensor, nn


class PassThrough(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.num_features = size

    def forward(self, features: Tensor) -> Tensor:
        return features
