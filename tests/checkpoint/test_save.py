import errno
import os
import shutil
import threading
from pathlib import Path

import pytest
import torch

from comm.thread_ranks import on_ranks
from fasttrain.checkpoint import save as save_module
from fasttrain.checkpoint import store
from fasttrain.checkpoint.config import CheckpointConfig
from fasttrain.checkpoint.save import Saver, save
from fasttrain.comm.group import SoloGroup
from fasttrain.core.errors import FormatError

META = {"tokens": 12_345_678_901, "guard": {"losses": [3.5, 0.1 + 0.2]}, "name": "größer", "none": None}
MODES = pytest.mark.parametrize("async_write", [False, True])


def state(value=0.0):
    return {
        "embed.weight": torch.arange(12, dtype=torch.float32).reshape(3, 4) + value,
        "head.weight": torch.randn(5, 7, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16),
        "optim.step": torch.tensor(41 + int(value)),
        "rng": torch.arange(9, dtype=torch.uint8),
        "half": torch.tensor([1.5, float("nan"), float("inf")], dtype=torch.float16),
        "none": torch.empty(0, 3),
    }


def bits(tensor):
    return tensor.contiguous().view(torch.uint8) if tensor.dim() else tensor.reshape(1).view(torch.uint8)


def assert_holds(path, want):
    got = store.load(path)
    assert set(got.tensors) == set(want)
    for name, tensor in want.items():
        assert got.tensors[name].dtype == tensor.dtype
        assert got.tensors[name].shape == tensor.shape
        assert torch.equal(bits(got.tensors[name]), bits(tensor)), name


def test_round_trip_of_every_dtype(tmp_path):
    path = save(tmp_path, 100, state(), META, SoloGroup())
    assert path.name == "step-00000100"
    assert_holds(path, state())
    found = store.load(path)
    assert found.meta == META
    assert found.step == 100
    assert store.newest(tmp_path) == path


def test_files_are_cut_to_size_and_views_of_one_buffer_are_saved(tmp_path, monkeypatch):
    monkeypatch.setattr(save_module, "FILE_BYTES", 100)
    flat = torch.arange(200, dtype=torch.float32)
    views = {f"w{i}": flat[20 * i : 20 * i + 20].view(4, 5).T for i in range(10)}
    path = save(tmp_path, 1, iter(views.items()), {}, SoloGroup())
    assert_holds(path, views)
    assert len(list(path.glob("*.safetensors"))) == 10


@MODES
@pytest.mark.parametrize("size", [2, 3])
def test_ranks_write_their_own_tensors(tmp_path, size, async_write):
    def work(group):
        saver = Saver(tmp_path, CheckpointConfig(async_write=async_write), group)
        mine = {f"r{group.rank}.a": torch.full((3,), float(group.rank)), f"r{group.rank}.b": torch.tensor(group.rank)}
        saver.save(5, mine, {"rank": group.rank})
        saver.wait()
        return mine

    results = on_ranks(size, work)
    assert_holds(store.path_of(tmp_path, 5), {k: v for mine in results for k, v in mine.items()})
    assert store.load(store.path_of(tmp_path, 5)).meta == {"rank": 0}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000005"]


@MODES
@pytest.mark.parametrize("victim", [0, 1])
def test_an_error_of_one_rank_raises_on_all_and_leaves_the_old_checkpoint(tmp_path, async_write, victim, monkeypatch):
    save(tmp_path, 1, state(), META, SoloGroup())
    real = save_module.atomic.write_bytes

    def full(path, data, **options):
        if path.name.startswith(f"rank-{victim:05d}-"):
            raise FormatError(f"{path}: cannot be written: No space left on device")
        real(path, data, **options)

    def work(group):
        saver = Saver(tmp_path, CheckpointConfig(async_write=async_write), group)
        saver.save(2, {f"r{group.rank}": torch.zeros(2)}, {})
        saver.wait()

    with monkeypatch.context() as patch:
        patch.setattr(save_module.atomic, "write_bytes", full)
        errors = on_ranks(2, work)
    assert [type(e) for e in errors] == [FormatError, FormatError]
    assert all("No space left on device" in str(e) for e in errors)
    assert store.steps(tmp_path) == [1]
    assert_holds(store.newest(tmp_path), state())
    assert on_ranks(2, work) == [None, None], "once there is room, the same step is saved"
    assert store.steps(tmp_path) == [1, 2]


def test_a_name_that_comes_twice_is_refused(tmp_path):
    errors = on_ranks(2, lambda group: save(tmp_path, 1, {"same": torch.zeros(1)}, {}, group))
    assert all("same came twice" in str(e) for e in errors)
    with pytest.raises(ValueError, match="w came twice"):
        save(tmp_path, 1, [("w", torch.zeros(1))] * 2, {}, SoloGroup())
    assert store.steps(tmp_path) == []


def test_async_saves_the_state_of_the_moment_and_surfaces_errors_later(tmp_path, monkeypatch):
    saver = Saver(tmp_path, CheckpointConfig(), SoloGroup())
    go, real = threading.Event(), save_module.write_rank
    monkeypatch.setattr(save_module, "write_rank", lambda *args: go.wait(30) and real(*args))
    live, meta = state(), {"list": [1]}
    saver.save(1, live, meta)
    live["embed.weight"].fill_(-1)
    meta["list"].append(2)
    assert store.steps(tmp_path) == [], "nothing is finished while it is being written"
    go.set()
    saver.wait()
    assert_holds(store.path_of(tmp_path, 1), state())
    assert store.load(store.path_of(tmp_path, 1)).meta == {"list": [1]}
    monkeypatch.setattr(save_module, "write_rank", lambda *args: (_ for _ in ()).throw(FormatError("disk is full")))
    saver.save(2, live, {})
    with pytest.raises(FormatError, match="disk is full"):
        saver.save(3, live, {})
    monkeypatch.setattr(save_module, "write_rank", real)
    saver.save(3, live, {})
    saver.wait()
    assert store.steps(tmp_path) == [1, 3]


def test_async_holds_one_copy_of_the_state_and_never_two(tmp_path, monkeypatch):
    saver = Saver(tmp_path, CheckpointConfig(), SoloGroup())
    go, writing, copied = threading.Event(), threading.Event(), []
    real, copy = save_module.write_rank, save_module._copy

    def slow(*args):
        writing.set()
        assert go.wait(30)
        real(*args)

    monkeypatch.setattr(save_module, "write_rank", slow)
    monkeypatch.setattr(save_module, "_copy", lambda tensor: copied.append(tensor.nbytes) or copy(tensor))
    saver.save(1, state(), {})
    one = sum(copied)
    assert one == sum(t.nbytes for t in state().values())
    second = threading.Thread(target=saver.save, args=(2, state(1), {}))
    second.start()
    assert writing.wait(30)
    second.join(0.2)
    assert second.is_alive(), "the second save waits for the first"
    assert sum(copied) == one
    go.set()
    second.join(30)
    saver.wait()
    assert sum(copied) == 2 * one
    assert store.steps(tmp_path) == [1, 2]


def test_a_full_disk_is_named_and_the_old_checkpoint_stays(tmp_path, monkeypatch):
    save(tmp_path, 1, state(), META, SoloGroup())

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(FormatError, match="cannot be written: No space left on device; free space"):
            save(tmp_path, 2, state(1), META, SoloGroup())
    assert store.steps(tmp_path) == [1]
    assert_holds(store.newest(tmp_path), state())


class Killed(BaseException):
    """Not an Exception: nothing may catch it, as nothing catches SIGKILL."""


def die_at(patch, operation):
    """From the operation-th call that changes the disk on, every one of them raises: a process that is gone."""
    count = 0

    def dying(real):
        def call(*args, **options):
            nonlocal count
            count += 1
            if count > operation:
                raise Killed
            return real(*args, **options)

        return call

    for owner, name in [
        (os, "replace"), (os, "fsync"), (os, "unlink"), (os, "mkdir"), (os, "rmdir"), (os, "rename"),
        (shutil, "rmtree"), (Path, "write_bytes"), (Path, "unlink"), (Path, "mkdir"),
    ]:  # fmt: skip
        patch.setattr(owner, name, dying(getattr(owner, name)))
    return lambda: count


@pytest.mark.parametrize("again", [False, True], ids=["a new step", "the same step again"])
def test_killed_between_any_two_file_operations(tmp_path, monkeypatch, again):
    """Whatever the moment: the newest whole checkpoint is the old or the new one, and the next run saves as ever."""
    config = CheckpointConfig(keep=1, keep_best=False, async_write=False)
    old, new = 100, 100 if again else 200
    operation, finished = 0, False
    while not finished:
        folder = tmp_path / str(operation)
        Saver(folder, config, SoloGroup()).save(old, state(), {"which": "old"})
        with monkeypatch.context() as patch:
            die_at(patch, operation)
            try:
                Saver(folder, config, SoloGroup()).save(new, state(1), {"which": "new"})
                finished = True
            except Killed:
                pass
        saver = Saver(folder, config, SoloGroup())
        path = store.newest(folder)
        assert path is not None
        which = store.load(path).meta["which"]
        assert_holds(path, state(1.0 if which == "new" else 0.0))
        assert which == "new" or not finished
        assert all(p.name.startswith("step-") for p in folder.iterdir()), "leftovers are gone"
        saver.save(new, state(1), {"which": "new"})
        assert store.load(store.newest(folder)).meta["which"] == "new"
        assert store.steps(folder) == [new]
        operation += 1
    assert operation > 12, "the disk was changed more often than that"


def test_saving_an_earlier_step_ends_the_past_behind_it(tmp_path):
    saver = Saver(tmp_path, CheckpointConfig(async_write=False), SoloGroup())
    for step in (1, 2, 3):
        saver.save(step, state(step), {})
        saver.record(step, 10.0 - step)
    assert store.steps(tmp_path) == [2, 3]
    saver.save(2, state(9), {})
    assert store.steps(tmp_path) == [2]
    assert_holds(store.path_of(tmp_path, 2), state(9))
    assert 2 not in store.read_scores(tmp_path), "the score was of the state that is gone"
    assert store.best(tmp_path) is None


def test_newest_and_best_stay(tmp_path):
    saver = Saver(tmp_path, CheckpointConfig(keep=2), SoloGroup())
    for step, loss in enumerate([5.0, 3.0, 4.0, 4.5, float("nan"), 3.5], 1):
        saver.save(step, state(step), {})
        saver.record(step, loss)
    saver.wait()
    assert store.steps(tmp_path) == [2, 5, 6]
    assert store.best(tmp_path) == store.path_of(tmp_path, 2)
    assert store.newest(tmp_path) == store.path_of(tmp_path, 6)


def test_a_rank_touches_nothing_behind_its_list(tmp_path, monkeypatch):
    """Rank 0 renames the folder as soon as it sees every rank's list: here before the rank's own call returns."""
    temporary, final, real = tmp_path / ".step-00000008.new", tmp_path / "step-00000008", os.replace
    temporary.mkdir()

    def replace(source, target):
        real(source, target)
        if Path(target).suffix == ".json":
            real(temporary, final)

    monkeypatch.setattr(save_module.os, "replace", replace)
    save_module.write_rank(temporary, 1, state().items())
    assert sorted(p.name for p in final.iterdir()) == ["rank-00001-000.safetensors", "rank-00001.json"]
