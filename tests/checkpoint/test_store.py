import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.checkpoint import save as save_module
from fasttrain.checkpoint import store
from fasttrain.checkpoint.config import CheckpointConfig
from fasttrain.checkpoint.save import save
from fasttrain.comm.group import SoloGroup
from fasttrain.core.errors import ConfigError, FormatError

STEPS = st.lists(st.integers(0, 1000), unique=True, max_size=12)


def write(folder, *steps):
    for step in steps:
        save(folder, step, {"w": torch.full((40,), float(step)), "b": torch.tensor(step)}, {"step": step}, SoloGroup())


@given(
    STEPS,
    st.dictionaries(st.integers(0, 1000), st.floats(0, 10)),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from([0, 1, 7, 100]),
)
def test_retention(found, scores, keep, keep_best, keep_every):
    config = CheckpointConfig(keep=keep, keep_best=keep_best, keep_every=keep_every)
    gone = store.superfluous(found, scores, config)
    kept = sorted(set(found) - set(gone))
    assert set(gone) <= set(found)
    assert kept[-keep:] == sorted(found)[-keep:], "the newest stay"
    top = store.best_step(found, scores)
    if keep_best and top is not None:
        assert top in kept
        assert all(scores[top] <= scores[s] for s in found if s in scores)
    nth = {s for s in found if keep_every and s % keep_every == 0}
    assert nth <= set(kept)
    assert len(kept) <= keep + keep_best + len(nth)
    assert store.superfluous(kept, scores, config) == []


def test_every_flipped_byte_is_found(tmp_path):
    write(tmp_path, 1)
    path = store.path_of(tmp_path, 1)
    rng = np.random.default_rng(3)
    for file in sorted(path.iterdir()):
        whole = file.read_bytes()
        places = rng.choice(len(whole), 60, replace=False)
        for place in {0, len(whole) - 1, *places.tolist()}:
            changed = bytearray(whole)
            changed[place] ^= 0x10
            if file.name == store.MANIFEST and _same_json(changed, whole):
                continue  # white space of the JSON
            file.write_bytes(changed)
            with pytest.raises(FormatError):
                store.verify(path)
        file.write_bytes(whole[:-2])
        with pytest.raises(FormatError):
            store.load(path).tensors["w"]
        file.write_bytes(whole)
    store.verify(path)


def _same_json(a, b):
    try:
        return json.loads(a) == json.loads(b)
    except ValueError:
        return False


def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path, caplog):
    write(tmp_path, 1, 2, 3)
    for step in (3, 2):
        (file,) = store.path_of(tmp_path, step).glob("*.safetensors")
        file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
        assert store.newest(tmp_path) == store.path_of(tmp_path, step - 1)
        assert f"checkpoint of step {step} is damaged and passed over" in caplog.text
    (store.path_of(tmp_path, 1) / store.MANIFEST).write_text("{}")
    with pytest.raises(FormatError, match="all 3 checkpoints are damaged; remove the folder to train afresh"):
        store.newest(tmp_path)


def damage(path, how):
    file = path / store.MANIFEST if how == "no manifest" else sorted(path.glob("*.safetensors"))[0]
    if how in ("missing", "no manifest"):
        file.unlink()
    else:
        whole = file.read_bytes()
        file.write_bytes(whole[:-3] if how == "cut" else whole[:-1] + bytes([whole[-1] ^ 1]))
    return file


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "is missing"),
        ("cut", r"must hold \d+ bytes, holds \d+"),
        ("flipped", "its bytes are not those that were written"),
        ("no manifest", "no such file"),
    ],
)
def test_a_damaged_file_is_named_and_the_last_good_checkpoint_offered(tmp_path, how, words):
    write(tmp_path, 1, 2, 3)
    store.record(tmp_path, 3, 0.5)
    file = damage(store.path_of(tmp_path, 3), how)
    offer = rf"{file.name}: {words}.*the newest whole checkpoint beside it is step 2 \(.*step-00000002\)"
    for name in ("3", "best"):
        with pytest.raises(FormatError, match=offer):
            store.named(tmp_path, name)
    assert store.named(tmp_path, "newest") == store.path_of(tmp_path, 2)
    damage(store.path_of(tmp_path, 2), "cut")
    damage(store.path_of(tmp_path, 1), "flipped")
    with pytest.raises(FormatError, match=rf"{file.name}: {words}.*no other checkpoint beside it is whole"):
        store.named(tmp_path, "3")


def test_every_damaged_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(save_module, "FILE_BYTES", 100)
    save(tmp_path, 1, {f"w{i}": torch.full((20,), float(i)) for i in range(4)}, {}, SoloGroup())
    path = store.path_of(tmp_path, 1)
    files = sorted(path.glob("*.safetensors"))
    assert len(files) == 4
    files[0].unlink()
    files[2].write_bytes(files[2].read_bytes()[:-1] + b"\x01")
    with pytest.raises(FormatError) as error:
        store.verify(path)
    assert [f.name in str(error.value) for f in files] == [True, False, True, False]


def test_what_is_not_finished_is_none(tmp_path):
    assert store.newest(tmp_path / "absent") is None
    assert store.best(tmp_path) is None
    write(tmp_path, 1)
    (tmp_path / "step-00000002").mkdir()
    (tmp_path / ".step-00000003.new").mkdir()
    (tmp_path / "step-4").mkdir()
    assert store.steps(tmp_path) == [1]
    assert store.newest(tmp_path) == store.path_of(tmp_path, 1)


def test_names(tmp_path):
    write(tmp_path, 1, 2, 30)
    store.record(tmp_path, 1, 2.5)
    store.record(tmp_path, 2, 2.5)
    store.record(tmp_path, 30, 2.6)
    store.record(tmp_path, 40, 0.1)  # never saved
    assert store.named(tmp_path, "newest") == store.path_of(tmp_path, 30)
    assert store.named(tmp_path, "best") == store.path_of(tmp_path, 2), "of equal losses the newer one"
    assert store.named(tmp_path, "1") == store.path_of(tmp_path, 1)
    for name, words in [("latest", "must be newest, best or a step's number, got 'latest'"), ("7", "no '7' in")]:
        with pytest.raises(ConfigError, match=f"{words}.*there are steps 1, 2, 30"):
            store.named(tmp_path, name)
    with pytest.raises(ConfigError, match="there is none; run `train` first"):
        store.named(tmp_path / "empty", "newest")


def test_tensors_are_read_when_asked_for(tmp_path):
    write(tmp_path, 5)
    found = store.load(store.path_of(tmp_path, 5))
    assert list(found.tensors) == ["w", "b"]
    assert len(found.tensors) == 2
    assert found.tensors["b"].item() == 5
    with pytest.raises(KeyError):
        found.tensors["absent"]


def test_due():
    config = CheckpointConfig(every_steps=10)
    assert [s for s in range(1, 36) if config.is_due(s, 35)] == [10, 20, 30, 35]
