"""Starting from another run's weights, also under an extended vocabulary."""

import pytest
import torch
from safetensors.torch import save_file

from fasttrain.checkpoint import store
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.formats import atomic
from fasttrain.formats.old_pieces import OldPieces
from fasttrain.model.config import ModelConfig
from fasttrain.model.hf_config import to_hf_config
from fasttrain.model.hf_weights import to_hf
from fasttrain.model.init import init_, initial
from fasttrain.model.transformer import Transformer
from fasttrain.monitor.metrics import read_lines
from fasttrain.tokenizer.tokenizer import Tokenizer
from fasttrain.tokenizer.train_bpe import train_bpe
from fasttrain.train.config import TrainConfig
from fasttrain.train.initial import extend_rows, read
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


# ---- Hugging Face folders


def hf_folder(path, family, tokenizer=None, **changes):
    """A folder as another project would leave it, and its weights under our names."""
    fits = {"num_layers": 2, "dim": 16, "num_heads": 2, "ffn_dim": 32, "max_seq_len": 24, "vocab_size": V}
    model = init_(Transformer(ModelConfig.load(fits | {"family": family} | changes)), 9)
    path.mkdir(exist_ok=True)
    save_file({n: t.contiguous() for n, t in to_hf(model.config, model.state_dict())}, path / "model.safetensors")
    atomic.write_json(path / "config.json", to_hf_config(model.config, eot_id=0, dtype="float32"))
    if tokenizer is not None:
        tokenizer.save(path / "tokenizer.json")
    return model


def as_recipe(model, **changes):
    """`made_run` settings of that model, switch by switch."""
    fixed = (
        "norm",
        "positions",
        "activation",
        "bias",
        "qk_norm",
        "norm_eps",
        "rope_theta",
        "tied_embeddings",
    )
    return {f"model__{key}": getattr(model.config, key) for key in fixed} | changes


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2"])
def test_a_run_begins_from_a_hugging_face_folder(family, tmp_path):
    model = hf_folder(tmp_path / "hf", family)
    folder = made_run.make(tmp_path / "run")
    begun = started(folder, **as_recipe(model, train__init_from=str(tmp_path / "hf")))
    for name, tensor in model.state_dict().items():
        assert torch.equal(begun[name], tensor), name
    assert all(not begun[name].any() for name in begun if name.startswith("optim."))
    assert any(not torch.equal(final(folder)[name], begun[name]) for name in model.state_dict())


def test_mup_keeps_the_function_of_the_folder(tmp_path):
    model = hf_folder(tmp_path / "hf", "llama")
    config = ModelConfig.load(model.config.to_dict() | {"mup_base_dim": 8, "mup_base_head_dim": 4})
    weights = read(TrainConfig(num_steps=1, init_from="hf"), config, made_run.make(tmp_path / "run"), tmp_path, 0)
    ours = Transformer(config)
    ours.load_state_dict(dict(weights))
    tokens = torch.arange(20)[None]
    torch.testing.assert_close(ours.logits(tokens), model.logits(tokens))


def test_rows_of_a_folder_are_extended_too(tmp_path):
    model = hf_folder(tmp_path / "hf", "gpt2")
    folder = made_run.make(tmp_path / "run")
    begun = started(folder, **as_recipe(model, model__vocab_size=V + 3, train__init_from=str(tmp_path / "hf"),
                                        train__init_pieces=str(pieces(tmp_path))))  # fmt: skip
    assert torch.equal(begun["embed.weight"][V], model.embed.weight[[5, 6, 7]].mean(0))


def test_a_folder_of_another_model_is_refused(tmp_path):
    model = hf_folder(tmp_path / "hf", "gpt2")
    folder = made_run.make(tmp_path / "run")
    here = as_recipe(model, train__init_from=str(tmp_path / "hf"))

    def refused(words, **changes):
        with pytest.raises(ConfigError, match=words):
            made_run.run(folder, **here | changes)

    refused("another model .*model.num_layers: 2 there, 1 here", model__num_layers=1)
    refused("another model .*model.max_seq_len: 24 there, 32 here", model__max_seq_len=32)
    refused("another model .*model.norm: layer there, rms here", model__norm="rms")
    refused(f"has {V} embedding rows, the model has {V + 1}", model__vocab_size=V + 1)


def test_a_folder_s_tokenizer_must_be_that_of_the_shards(tmp_path, caplog):
    tokenizer = Tokenizer.load(train_small_tokenizer(tmp_path))
    model = hf_folder(tmp_path / "hf", "llama", tokenizer)
    folder = made_run.make(tmp_path / "run")
    here = as_recipe(model, train__init_from=str(tmp_path / "hf"))
    with pytest.raises(ConfigError, match="hf was trained with another tokenizer than this run's shards"):
        made_run.run(folder, **here)
    for shard in folder.shards.glob("*/*/shard.json"):
        atomic.write_json(shard, atomic.read_json(shard) | {"tokenizer_fingerprint": tokenizer.fingerprint})
    started(folder, **here)
    (tmp_path / "hf" / "tokenizer.json").write_text("{}")
    with caplog.at_level("WARNING", "fasttrain.train"):
        started(made_run.make(tmp_path / "other"), **here)
    assert "is not compared with the tokenizer of this run's shards" in caplog.text


def train_small_tokenizer(folder):
    path = folder / "tokenizer.json"
    train_bpe(["a b ab ab ba"] * 9, vocab_size=270).save(path)
    return path
