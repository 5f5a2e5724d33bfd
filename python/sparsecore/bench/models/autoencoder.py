"""A convolutional autoencoder, whose decoder is made of transposed convolutions, for inference."""

from torch import nn

__all__ = ["autoencoder"]


def autoencoder(width: int = 32) -> nn.Sequential:
    """Return three convolutions and three transposed ones of stride 2, (n, 3, h, w) to the same.

    Transposed convolutions have no sparse form here: they stay as they are.
    """
    return nn.Sequential(
        *(nn.Conv2d(3, width, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(2 * width, 4 * width, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding=1), nn.ReLU()),
        *(nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1), nn.ReLU()),
        *(nn.ConvTranspose2d(width, 3, 4, stride=2, padding=1), nn.Sigmoid()),
    )
