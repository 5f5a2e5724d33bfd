"""What `prune_blocks` refuses, and that it says why."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
nn = torch.nn

from sparsecore.pruning import NM, ModelFiles, prune_blocks, token_batches  # noqa: E402
from test_pruning_block_calls import Caller, call  # noqa: E402


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blocks": "layer"}, r"blocks is 'layer', which is nothing in Caller.*it has layers"),
        ({"blocks": "layers.0"}, "a Scaled in Caller"),
        ({"sparsity": 1.0}, "sparsity is 1.0"),
        ({"method": "obs"}, "method is 'obs'"),
        ({"pattern": NM(1, 4)}, "sparsity is 0.5, but NM"),
        ({"pattern": NM(8, 16)}, "layers.0.fc.weight has 8 inputs"),
        ({"sequence_length": None}, "sequence_length is None"),
        ({"sequence_length": 4}, r"shape \(2, 3, 8\), expected sequence_length=4"),
        ({"columns": 0}, "columns is 0"),
        ({"damping": -1}, "damping is -1"),
        ({"damping": "x"}, "damping is 'x', expected at least 0"),
        ({"where": lambda *_: False}, "no Linear weight that where= selects"),
    ],
)
def test_requests_without_meaning_are_refused(changes, message):
    model = Caller()
    before = {name: x.clone() for name, x in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        call(model, **changes)
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


@pytest.mark.parametrize(
    ("between", "error", "message"),
    [
        ("scaled", ValueError, "block 1 is not called with what block 0 returns"),
        ("left", ValueError, "the model has not run all of its blocks"),
        ("cache", TypeError, "block 0 gets a object as argument 'scale'.*use_cache=False"),
    ],
)
def test_models_that_do_not_run_block_after_block_are_refused(between, error, message):
    model = Caller(between)
    with pytest.raises(error, match=message):
        call(model)
    assert not any("forward" in vars(module) for module in model.modules())
    assert model.layers[0].training


def test_layers_without_inputs_and_inputs_that_are_not_finite_are_named():
    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.used(x)

    model = nn.Sequential(nn.Sequential(Idle()))
    options = {"blocks": "0", "sparsity": 0.5, "sequence_length": 3}
    with pytest.raises(ValueError, match=r"'0\.0\.idle\.weight' got no input"):
        prune_blocks(model, [torch.randn(2, 3, 4)], **options)
    only = {"where": lambda name, _: "used" in name, **options}
    x = torch.full((2, 3, 4), torch.inf)
    with pytest.raises(ValueError, match=r"hessians\['0\.0\.used\.weight'\] has NaN or inf"):
        prune_blocks(model, [x], **only)
    with pytest.raises(ValueError, match="batches has none"):
        prune_blocks(model, [], **only)
    with pytest.raises(TypeError, match="model is dict"):
        prune_blocks({}, [], **only)
    with pytest.raises(ValueError, match="one module is there twice"):
        prune_blocks(nn.ModuleList([model] * 2), [], **{**only, "blocks": ""})


def test_patterns_of_other_kinds_and_texts_that_are_too_short_are_refused(tmp_path):
    for pattern in ("2:4", None):
        with pytest.raises(TypeError, match=f"pattern is {pattern!r}, expected Unstructured"):
            call(Caller(), pattern=pattern)
    with pytest.raises(TypeError, match="where is str, expected a function"):
        call(Caller(), where="layers.0")
    with pytest.raises(TypeError, match="batches is int, expected an iterable"):
        prune_blocks(Caller(), 3, blocks="layers", sparsity=0.5, sequence_length=3)
    with pytest.raises(ValueError, match=r"of the model is on the meta device.*ModelFiles"):
        call(Caller().to("meta"))
    with pytest.raises(TypeError, match="tokens is list, expected a tensor"):
        token_batches([1, 2, 3], sequence_length=2)
    with pytest.raises(ValueError, match=r"sequence_length is 2\.5, expected an integer"):
        token_batches(torch.arange(5), sequence_length=2.5)
    with pytest.raises(TypeError, match="generator is int, expected a torch"):
        token_batches(torch.arange(5), sequence_length=2, generator=0)
    with pytest.raises(ValueError, match=r"tokens has shape \(3,\)"):
        token_batches(torch.arange(3), sequence_length=4)
    with pytest.raises(ValueError, match="count is 0"):
        token_batches(torch.arange(5), sequence_length=4, count=0)
    files = ModelFiles(tmp_path, tmp_path / "out", Caller)
    with pytest.raises(ValueError, match="expected one checkpoint in the folder"):
        prune_blocks(files, blocks="layers", sparsity=0.5, method="magnitude")


@pytest.mark.parametrize("method", ["sparsegpt", "wanda", "magnitude"])
def test_nan_in_the_last_layer_of_a_block_leaves_the_first_as_it_was(method):
    model = nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))))
    with torch.no_grad():
        model[0][0][1].weight[1, 2] = torch.nan
    before = model[0][0][0].weight.detach().clone()
    options = {"blocks": "0", "sparsity": 0.5, "sequence_length": 3, "method": method}
    with pytest.raises(ValueError, match=r"prune_blocks: 0\.0\.1\.weight has 1 NaN"):
        prune_blocks(model, [torch.randn(2, 3, 4)], **options)
    assert torch.equal(model[0][0][0].weight, before)


@pytest.mark.parametrize("method", ["sparsegpt", "wanda", "magnitude"])
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")
def test_layers_without_features_are_passed_over(method):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(4, 0), nn.Linear(0, 4))))
    options = {"blocks": "0", "sparsity": 0.5, "sequence_length": 3, "method": method}
    found = prune_blocks(model, [torch.randn(2, 3, 4)], **options)
    assert [(layer.shape, layer.kept, layer.sparsity) for layer in found] == [
        ((0, 4), 0, 0.0),
        ((4, 0), 0, 0.0),
    ]
