"""A plain stack of convolutions and a wide classifier, for 32 x 32 pixels and for inference."""

from torch import nn

__all__ = ["vgg"]


def vgg() -> nn.Sequential:
    """Return six 3 x 3 convolutions with BatchNorm, halved after each two, and two linear layers.

    References
    ----------
    Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
    ICLR 2015, table 1; BatchNorm as in Ioffe and Szegedy, ICML 2015.
    """
    layers: list[nn.Module] = []
    inputs = 3
    for outputs in (32, 64, 128):
        for _ in range(2):
            conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    head = (nn.Linear(128 * 4 * 4, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, 10))
    return nn.Sequential(*layers, nn.Flatten(), *head)
