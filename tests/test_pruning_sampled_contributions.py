"""pruning/structured/sampled_contributions.py: what inputs add sums to what layers give."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_pruning", reason="the layers that read come from torch-pruning")

from torch import Tensor, nn  # noqa: E402

from shrink_cases import seeded  # noqa: E402
from sparsecore.nn.example import Example  # noqa: E402
from sparsecore.pruning.structured.channel_groups import channel_groups  # noqa: E402
from sparsecore.pruning.structured.sampled_contributions import (  # noqa: E402
    sampled_contributions,
)
from structured_cases import inputs  # noqa: E402


@pytest.mark.parametrize(
    "reader",
    [
        nn.Conv2d(4, 6, 3, 2, padding=1, dilation=2, groups=2),
        nn.Conv2d(4, 6, (1, 3), padding="same", padding_mode="circular"),
        nn.Linear(7, 6),
    ],
)
def test_contributions_add_up_to_outputs(reader: nn.Module) -> None:
    model = seeded(nn.Sequential(nn.Conv2d(2, 4, 1), nn.ReLU(), reader, nn.Flatten()))
    if isinstance(reader, nn.Linear):
        model = seeded(nn.Sequential(nn.Linear(7, 7), nn.ReLU(), reader, nn.Linear(6, 2)))
    x = inputs(1, 3, 2, 7, 7)
    group = channel_groups(model, Example.of(x), caller="test")[0]

    def draw() -> Tensor:
        generator = torch.Generator().manual_seed(0)
        examples = [Example.of(x)]
        return sampled_contributions(
            model, examples, group.channels, samples=20, generator=generator
        )[reader]

    drawn = draw()
    assert drawn.shape == (60, len(group.channels))
    with torch.no_grad():
        reader.bias.zero_()  # contributions are without it
        outputs = reader(model[1](model[0](x))).flatten(1)
    for image, sums in enumerate(drawn.sum(1).view(3, 20)):
        assert (outputs[image][None] - sums[:, None]).abs().amin(1).max() < 1e-12
    assert len(drawn.sum(1).unique()) > 40  # places and units vary
    with torch.no_grad():
        model[0].weight[1:] = model[0].bias[1:] = 0.0
    torch.testing.assert_close(draw()[:, 0], drawn[:, 0], rtol=1e-12, atol=1e-12)
    assert not draw()[:, 1:].any()
