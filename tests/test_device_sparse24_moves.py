"""2:4 between the host and a device, what keeps it there, and what is refused."""

import copy
import pickle

import numpy as np
import pytest

import sparsecore as sc
from device_cases import back, tensor
from sparsecore import _core
from sparsecore.cuda.structure24 import DeviceSparse24
from test_device_bad_input import message_of

pytestmark = pytest.mark.gpu

DENSE = np.array([[1, 0, 0, 2, 0, 3, 4, 0, 5, 0], [0, 6, 0, 0, 7, 0, 0, 8, 0, 9]], np.float32)


@pytest.fixture
def here():
    return sc.Sparse24.from_dense(DENSE)


def test_both_ways(gpu, here):
    S = here.to(gpu)
    assert isinstance(S._structure, DeviceSparse24)
    assert S.device == tensor(DENSE, gpu).device
    np.testing.assert_array_equal(back(S.toarray()), DENSE)
    T = S.to("cpu")
    assert isinstance(T._structure, _core.Sparse24Structure)
    assert T._structure.equals(here._structure)
    np.testing.assert_array_equal(back(T.values), here.values)
    assert S.to(gpu)._structure is S._structure
    assert here.to("cpu")._structure is here._structure


def test_moves_pass_gradients(gpu):
    W = tensor(DENSE, gpu).cpu().requires_grad_()
    values = W.detach().clone().requires_grad_()
    S = sc.Sparse24.from_dense(DENSE)
    S = sc.Sparse24._wrap(S._structure, values[:, : S.values.shape[1]]).to(gpu)
    S.values.sum().backward()
    assert back(values.grad).sum() == S.values.numel()


def test_copies_stay_on_the_device(gpu, here):
    S = here.to(gpu)
    copies = S.copy(), copy.copy(S), copy.deepcopy(S), pickle.loads(pickle.dumps(S))
    for made in (*copies, S.astype("float64").astype("float32"), S.with_data(S.values)):
        assert made.equals(S)
        assert made.equals(here)
        assert here.equals(made)
        assert made.device == S.device
        made.check()
    copies[0].values.zero_()
    copies[2].values.zero_()
    np.testing.assert_array_equal(back(S.toarray()), DENSE)
    assert S.with_data(S.values * 2)._structure is S.copy()._structure is S._structure
    assert not S.equals(S.with_data(S.values + 1))
    assert S.allclose(S.with_data(S.values * (1 + 1e-7)))
    assert not S.allclose(sc.Sparse24.from_dense(DENSE + (DENSE != 0)).to(gpu))


def test_files_are_those_of_the_host(gpu, here, tmp_path):
    paths = [tmp_path / f"{name}.safetensors" for name in ("host", "device")]
    sc.save(paths[0], here)
    sc.save(paths[1], here.to(gpu))
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sc.load(paths[1]).equals(here)
    assert sc.load(paths[1]).to(gpu).equals(here)


def test_made_of_tensors_that_may_be_edited_later(gpu, here):
    values, metadata = tensor(here.values, gpu), tensor(here.metadata, gpu)
    S = sc.Sparse24((values, metadata), here.shape)
    assert S.values is values
    metadata.zero_()
    S.metadata.zero_()
    assert S.equals(here)
    turned = tensor(np.asfortranarray(here.metadata), gpu)
    wide = tensor(np.repeat(here.values, 2, axis=1), gpu)
    assert sc.Sparse24((wide[:, ::2], turned), here.shape).equals(here)
    assert np.array_equal(back(sc.Sparse24((wide[:, ::2], turned), here.shape).toarray()), DENSE)


def test_bad_metadata_gets_the_hosts_words(gpu, here):
    for place in ((0, 0), (1, 1)):
        for nibble in (0x0, 0x5, 0xB, 0xF):
            for half in (0, 4):
                metadata = np.array(here.metadata)
                metadata[place] = nibble << half | 0xE << (4 - half)
                arrays = here.values, metadata
                expected = message_of(lambda arrays=arrays: sc.Sparse24(arrays, here.shape))
                moved = tuple(tensor(array, gpu) for array in arrays)
                assert message_of(lambda moved=moved: sc.Sparse24(moved, here.shape)) == expected


@pytest.mark.parametrize("value", [1.0, np.nan, -0.0])
def test_a_value_past_the_last_column(value, gpu):
    host = sc.Sparse24.from_dense(np.array([[0.0, 0, 0, 0, 1]]))
    values = np.array(host.values)
    values[0, 3] = value
    moved = tensor(values, gpu), tensor(host.metadata, gpu)
    if value == 0:
        assert sc.Sparse24(moved, host.shape).nnz == 3
        return
    expected = message_of(lambda: sc.Sparse24((values, host.metadata), host.shape))
    assert message_of(lambda: sc.Sparse24(moved, host.shape)) == expected


def test_arrays_that_do_not_fit(gpu, here):
    values, metadata = tensor(here.values, gpu), tensor(here.metadata, gpu)
    for given in (
        (values[:1], metadata),
        (values, metadata[:1]),
        (values, metadata.int()),
        (values, metadata[0]),
        (values.int(), metadata),
        (values[0], metadata),
    ):
        host = tuple(back(part) for part in given)
        kind, text = message_of(lambda host=host: sc.Sparse24(host, here.shape))
        assert message_of(lambda given=given: sc.Sparse24(given, here.shape)) == (
            kind,
            text.replace("dtype int32, expected one", "dtype torch.int32, expected one"),
        )


def test_two_memories_are_named(gpu, here):
    values, metadata = tensor(here.values, gpu), tensor(here.metadata, gpu)
    with pytest.raises(TypeError, match="metadata is a numpy uint8 array, the values are on"):
        sc.Sparse24((values, here.metadata), here.shape)
    with pytest.raises(TypeError, match="Sparse24: metadata is on device"):
        sc.Sparse24((here.values, metadata), here.shape)
    with pytest.raises(TypeError, match=r"Sparse24.with_data: data is a numpy .*the values are on"):
        here.to(gpu).with_data(here.values)
    with pytest.raises(ValueError, match=r"with_data: data has shape \(2, 5\), expected \(2, 6\)"):
        here.to(gpu).with_data(values[:, :5])


def test_what_is_not_24_gets_the_hosts_words(gpu):
    for k, row, group in ((8, 0, 1), (130, 2, 31), (131, 1, 32)):
        W = np.zeros((3, k), np.float16)
        W[row, 4 * group : 4 * group + 3] = 1
        expected = message_of(lambda W=W: sc.Sparse24.from_dense(W))
        assert expected[1].startswith(f"Sparse24: row {row}, group {group} ")
        assert message_of(lambda W=W: sc.Sparse24.from_dense(tensor(W, gpu))) == expected
    for W in (np.zeros((1, 4), np.int32), np.zeros(4), np.zeros((1, 1, 4))):
        with pytest.raises(TypeError, match="from_dense: W has"):
            sc.Sparse24.from_dense(tensor(W, gpu))
    with pytest.raises(TypeError, match="W has dtype int32"):
        sc.prune_24(tensor(np.zeros((1, 4), np.int32), gpu))
    with pytest.raises(TypeError, match="prune_24: W has no axis"):
        sc.prune_24(tensor(np.zeros(()), gpu))
    with pytest.raises(TypeError, match="prune_24: W is a negated view"):
        sc.prune_24(tensor(np.ones(4) * 1j, gpu).conj().imag)
