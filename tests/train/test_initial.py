"""Starting from another run's weights, also under an extended vocabulary."""

import pytest
import torch

from fasttrain.checkpoint import store
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.formats import atomic
from fasttrain.formats.old_pieces import OldPieces
from fasttrain.model.init import initial
from fasttrain.monitor.metrics import read_lines
from fasttrain.train.initial import extend_rows
from train import made_run

V = made_run.V
PIECES = {3: [1, 2], V: [5, 6, 7], V + 1: [5, 6]}


@pytest.fixture(scope="module", params=[False, True], ids=["untied", "tied"])
def trained(tmp_path_factory, request):
    folder = made_run.make(tmp_path_factory.mktemp("trained"))
    made_run.run(folder, model__tied_embeddings=request.param)
    return folder, request.param


def pieces(tmp_path, **changes):
    known = {"old_vocab_size": V, "new_vocab_size": V + 3, "old_fingerprint": "made", "new_fingerprint": "made",
             "pieces": PIECES}  # fmt: skip
    path = tmp_path / "old_pieces.json"
    OldPieces(**known | changes).write(path)
    return path


def final(folder):
    return dict(store.load(store.newest(folder.checkpoints)).tensors.items())


def started(folder, **changes):
    """The weights at step 0: policy rollback saves them before the first step."""
    made_run.run(folder, guard__policy="rollback", checkpoint__keep=99, **changes)
    return dict(store.load(store.path_of(folder.checkpoints, 0)).tensors.items())


def test_extend_rows_worked_by_hand():
    old = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 12.0]])
    fresh = torch.full((5, 2), 9.0)
    known = OldPieces(old_vocab_size=3, new_vocab_size=5, old_fingerprint="", new_fingerprint="",
                      pieces={3: [0, 1, 2], 1: [2, 2]})  # fmt: skip
    assert extend_rows(old, fresh, known).tolist() == [[1, 2], [5, 12], [5, 12], [3, 6], [9, 9]]


def test_rows_of_new_ids_begin_as_the_mean_of_their_pieces(trained, tmp_path):
    source, tied = trained
    path = pieces(tmp_path)
    folder = made_run.make(tmp_path / "run")
    begun = started(folder, model__vocab_size=V + 3, model__tied_embeddings=tied, train__init_from=str(source.root),
                    train__init_pieces=str(path))  # fmt: skip
    was = final(source)
    names = ["embed.weight"] if tied else ["embed.weight", "head.weight"]
    assert ("head.weight" in begun) is not tied
    model = made_run.settings(model__vocab_size=V + 3, model__tied_embeddings=tied)["model"]
    for name in names:
        new, old = begun[name], was[name]
        assert new.shape == (V + 3, 16)
        assert torch.equal(new[V], old[[5, 6, 7]].mean(0))
        assert torch.equal(new[V + 1], old[[5, 6]].mean(0))
        assert torch.equal(new[3], old[[1, 2]].mean(0))  # an id that was given to a new token
        assert torch.equal(new[V + 2], initial(model, name, 3)[V + 2])  # reserved
        kept = [i for i in range(V) if i != 3]
        assert torch.equal(new[kept], old[kept])
    for name in was.keys() - {"embed.weight", "head.weight"}:
        if name.startswith("optim."):
            assert not begun[name].any()
        else:
            assert torch.equal(begun[name], was[name]), name
    start = next(line for line in read_lines(folder.metrics) if line.get("event") == "start")
    assert start["init_from"] == str(source.root)


def test_the_same_vocabulary_needs_no_map(trained, tmp_path):
    source, tied = trained
    folder = made_run.make(tmp_path / "run")
    step = store.newest(source.checkpoints)
    begun = started(folder, model__tied_embeddings=tied, train__init_from=str(step), model__dropout=0.0)
    was = final(source)
    assert all(torch.equal(begun[k], was[k]) for k in was if not k.startswith("optim."))
    random = started(made_run.make(tmp_path / "random"), model__tied_embeddings=tied)
    assert not torch.equal(random["embed.weight"], begun["embed.weight"])


def test_every_layout_starts_alike_and_a_resumed_run_ends_alike(trained, tmp_path):
    source, tied = trained
    changes = {"model__vocab_size": V + 3, "model__tied_embeddings": tied, "train__init_from": str(source.root),
               "train__init_pieces": str(pieces(tmp_path))}  # fmt: skip
    unbroken = made_run.make(tmp_path / "unbroken")
    made_run.run(unbroken, **changes)
    again = made_run.make(tmp_path / "again")
    made_run.run(again, **changes)
    for later in store.steps(again.checkpoints)[1:]:
        store.remove(again.checkpoints, later)
    (again.train / "result.json").unlink()
    made_run.run(again, **changes)
    a, b = final(unbroken), final(again)
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_refusals(trained, tmp_path):
    source, tied = trained
    folder = made_run.make(tmp_path / "run")

    def run(words, error=ConfigError, **changes):
        with pytest.raises(error, match=words):
            made_run.run(folder, **{"model__tied_embeddings": tied} | changes)

    here = str(source.root)
    path = str(pieces(tmp_path))
    grown = {"model__vocab_size": V + 3, "train__init_from": here}
    run(f"has {V} embedding rows, the model has {V + 3}; set train.init_pieces to the old_pieces.json", **grown)
    run("train.init_pieces: .*give train.init_from too", train__init_pieces=path)
    run("holds no checkpoint; give a run folder", train__init_from=str(tmp_path / "none"))
    run("another model .*model.num_layers: 2 there, 1 here", train__init_from=here, model__num_layers=1)
    run("another model .*model.tied_embeddings", train__init_from=here, model__tied_embeddings=not tied)
    run(f"leads from {V} to {V + 3} ids, the checkpoint has {V} rows and the model {V + 4}",
        **grown | {"model__vocab_size": V + 4, "train__init_pieces": path})  # fmt: skip
    run("no such file", FormatError, **grown, train__init_pieces=str(tmp_path / "none.json"))
    run("extends another tokenizer than the checkpoint",
        **grown, train__init_pieces=str(pieces(tmp_path, old_fingerprint="x")))  # fmt: skip
    run("leads to another tokenizer than the one that made this run's shards",
        **grown, train__init_pieces=str(pieces(tmp_path, new_fingerprint="x")))  # fmt: skip
    shard = next((folder.shards / "train").glob("*/shard.json"))
    for shard in (folder.shards / "train").glob("*/shard.json"):
        atomic.write_json(shard, atomic.read_json(shard) | {"tokenizer_fingerprint": "other"})
    run("was trained with another tokenizer than this run's shards", train__init_from=here)
