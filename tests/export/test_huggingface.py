import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from audit import small_run
from eval.bytes_codec import model as small_model
from fasttrain.audit import datasheet
from fasttrain.checkpoint.save import save
from fasttrain.comm.group import SoloGroup
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.export.card import model_card
from fasttrain.export.huggingface import to_huggingface, write_folder
from fasttrain.model.family import family_of
from fasttrain.model.hf_weights import stored
from fasttrain.tokenizer.sentencepiece import SentencePieceTokenizer
from tokenizer import pieces

SHAPES = {
    "tied": {"tied_embeddings": True},
    "untied, grouped": {"tied_embeddings": False, "num_kv_heads": 2},
    "multi-query": {"num_kv_heads": 1},
    "wide heads": {"head_dim": 12},
    "qk-norm": {"qk_norm": True, "head_dim": 16},
    "long rope": {"rope_theta": 500_000.0, "norm_eps": 1e-6},
    "gpt2": {"family": "gpt2", "num_kv_heads": None},
    "muP": {"mup_base_dim": 8, "mup_base_head_dim": 4},
    "many files": {},
}
MANY_FILES = "many files"
# transformers in a process of its own: offline, with its own warnings, as a user runs it.
SCRIPT = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folders, tokens, texts = json.loads(sys.argv[1])
said = {}
for folder in folders:
    net, info = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info.get("mismatched_keys"), info
    tokenizer = AutoTokenizer.from_pretrained(folder)
    new = net.generate(torch.tensor([tokens[0][:4]]), max_new_tokens=5, do_sample=False)
    with torch.no_grad():
        single, double = net(torch.tensor(tokens)).logits, net.double()(torch.tensor(tokens)).logits
    torch.save({"fp32": single, "fp64": double}, folder + "/logits.pt")
    ids = [tokenizer(t)["input_ids"] for t in texts]
    said[folder] = {"ids": ids, "back": [tokenizer.decode(i) for i in ids], "new": new[0].tolist(),
                    "kind": type(net).__name__, "eos": tokenizer.eos_token_id}
print(json.dumps(said))
"""
TEXTS = ["Hello, world!", "κόσμε\n\ttab", "<|endoftext|>"]
TOKENS = np.random.default_rng(0).integers(0, 257, (3, 40)).tolist()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>"])
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


def build(shape):
    net = small_model(seed=11, **SHAPES[shape])
    with torch.no_grad():  # norms away from one, so that a norm in the wrong place is seen
        for name, parameter in net.named_parameters():
            if "norm" in name or name.endswith("bias"):
                parameter.copy_(torch.linspace(0.5, 1.5, len(parameter)))
    return net


def ask(folders, texts):
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, json.dumps([folders, TOKENS, texts])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def loaded(tokenizer, tmp_path_factory):
    """Every shape exported, and what transformers says of each."""
    root = tmp_path_factory.mktemp("exports")
    folders = {}
    for number, shape in enumerate(SHAPES):
        net = build(shape)
        limit = 20_000 if shape == MANY_FILES else 1 << 30
        folder = write_folder(net.config, net.state_dict(), tokenizer, root / str(number), card="# card",
                              max_shard_bytes=limit)  # fmt: skip
        folders[shape] = str(folder)
    said = ask(list(folders.values()), TEXTS)
    return {shape: (Path(folder), said[folder]) for shape, folder in folders.items()}


@pytest.mark.parametrize("shape", SHAPES)
def test_transformers_computes_the_same_model(shape, loaded, tokenizer):
    folder, said = loaded[shape]
    theirs = torch.load(folder / "logits.pt", weights_only=True)
    net = build(shape)
    with torch.no_grad():
        ours = net.logits(torch.tensor(TOKENS)).double()
        exact = net.double().logits(torch.tensor(TOKENS))
    # Norms are computed in fp32 in both, whatever the weights: also the float64 runs differ by fp32 rounding.
    fp32_error = (ours - exact).abs().max()
    rounding = 4 * torch.finfo(torch.float32).eps * exact.abs().max()
    for name in ("fp64", "fp32"):
        assert (theirs[name].double() - exact).abs().max() <= 2 * fp32_error + rounding, name
    kinds = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM", "gpt2": "GPT2LMHeadModel"}
    assert said["kind"] == kinds[family_of(net.config)]
    reference = Tokenizer.from_file(str(tokenizer))
    assert said["ids"] == [reference.encode(t).ids for t in TEXTS]
    assert said["back"] == TEXTS
    assert said["eos"] == 256
    assert said["new"][:4] == TOKENS[0][:4]
    assert len(said["new"]) > 4


def test_a_large_model_is_many_files(loaded):
    folder, _ = loaded[MANY_FILES]
    files = sorted(p.name for p in folder.glob("*.safetensors"))
    assert len(files) > 2
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert sorted(set(index["weight_map"].values())) == files
    assert not (folder / "model.safetensors").exists()


def test_a_failed_export_leaves_the_old_one(tokenizer, tmp_path, monkeypatch):
    net = small_model()
    folder = write_folder(net.config, net.state_dict(), tokenizer, tmp_path / "export", card="old")

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fasttrain.export.huggingface.save_file", full)
    with pytest.raises(FormatError, match="No space left"):
        write_folder(net.config, net.state_dict(), tokenizer, folder, card="new")
    assert (folder / "README.md").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["export"]


def test_a_new_export_takes_its_place(tokenizer, tmp_path):
    net = small_model()
    folder = write_folder(net.config, net.state_dict(), tokenizer, tmp_path / "export", card="old")
    (folder / "stale.txt").write_text("x")
    write_folder(net.config, net.state_dict(), tokenizer, folder, card="new")
    assert (folder / "README.md").read_text() == "new"
    assert not (folder / "stale.txt").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["export"]


def test_refuses_another_models_checkpoint(tokenizer, tmp_path):
    net = small_model()
    wide = small_model(dim=64)
    tensors = net.state_dict()
    mixed = {**wide.state_dict(), "blocks.0.attn.wq.weight": tensors["blocks.0.attn.wq.weight"]}
    with pytest.raises(FormatError, match=r"blocks.0.attn.wq.weight must have shape \(64, 64\), got \(32, 32\)"):
        write_folder(wide.config, mixed, tokenizer, tmp_path / "x")
    del tensors["norm.weight"]
    with pytest.raises(FormatError, match=r"lacks norm.weight"):
        write_folder(net.config, tensors, tokenizer, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_model_of_no_family_leaves_nothing(tokenizer, tmp_path):
    net = small_model(activation="gelu_tanh")
    with pytest.raises(ConfigError, match="activation = 'gelu_tanh'.* is neither a llama, a qwen3 nor a gpt2"):
        write_folder(net.config, net.state_dict(), tokenizer, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_without_an_end_is_refused(tmp_path):
    net = small_model()
    (tmp_path / "tokenizer.json").write_text('{"added_tokens": []}')
    with pytest.raises(FormatError, match="special end-of-text token, got none"):
        write_folder(net.config, net.state_dict(), tmp_path / "tokenizer.json", tmp_path / "x")
    (tmp_path / "tokenizer.model").write_bytes(b"\xff")
    with pytest.raises(FormatError, match="not a SentencePiece model"):
        write_folder(net.config, net.state_dict(), tmp_path / "tokenizer.model", tmp_path / "x")


PIECES = [("▁", -4.0), *((c, -5.0) for c in "abcdehlorw,!\n"), ("he", -1.0), ("ll", -1.5), ("▁w", -2.0), ("hell", -2.5)]


PIECE_MODELS = {
    "bpe with bytes": {"algorithm": "bpe", "byte_fallback": True, "remove_extra": False},
    "unigram with bytes": {"algorithm": "unigram", "byte_fallback": True, "remove_extra": False},
    "unigram": {"algorithm": "unigram"},
    "bpe without prefix": {"algorithm": "bpe", "dummy_prefix": False},
}
PIECE_TEXTS = ["hello world", " hello,  world! ", "\nhe €é", "", " ", "a" * 300]


@pytest.fixture(scope="module")
def loaded_pieces(tmp_path_factory):
    """An export with each model, and what transformers says of it."""
    net, root, folders = small_model(), tmp_path_factory.mktemp("pieces"), {}
    for number, (name, options) in enumerate(PIECE_MODELS.items()):
        path = root / f"{number}.model"
        path.write_bytes(pieces.model(PIECES, **options))
        folders[name] = path, write_folder(net.config, net.state_dict(), path, root / str(number))
    said = ask([str(folder) for _, folder in folders.values()], PIECE_TEXTS)
    return {name: (path, folder, said[str(folder)]) for name, (path, folder) in folders.items()}


@pytest.mark.parametrize("name", PIECE_MODELS)
def test_transformers_reads_a_sentencepiece_model_with_the_same_ids(loaded_pieces, name):
    path, folder, said = loaded_pieces[name]
    assert (folder / "tokenizer.model").read_bytes() == path.read_bytes()
    ours = SentencePieceTokenizer.load(path)
    assert said["ids"] == [ours.encode(t).tolist() for t in PIECE_TEXTS]
    assert said["eos"] == ours.eot_id
    if PIECE_MODELS[name].get("byte_fallback"):
        assert said["back"] == PIECE_TEXTS


def test_the_card_says_what_it_was_trained_on(tmp_path):
    run = small_run.build(tmp_path / "small")
    small_run.write_metrics(run)
    text = model_card(small_model().config, {"step": 40, "tokens": 20480}, run)
    assert text.startswith("---\nlibrary_name: transformers")
    assert "| books | CC0-1.0 | 1 |" in text
    assert "| training tokens | 20,480 |" in text
    assert "unknown" in model_card(small_model().config, {})


def test_a_run_s_checkpoint_is_exported(tokenizer, tmp_path):
    run = small_run.build(tmp_path / "small")
    net = small_model(seed=2)
    tensors = {**net.state_dict(), "optim.m.norm.weight": torch.zeros(32)}
    path = save(run.checkpoints, 7, tensors, {"tokens": 99, "model": net.config.to_dict()}, SoloGroup())
    folder = to_huggingface(path, tokenizer, run.export)
    weights = load_file(folder / "model.safetensors")
    assert set(weights) == set(stored(net.config))
    assert torch.equal(weights["model.norm.weight"], net.norm.weight)
    card = (folder / "README.md").read_text()
    assert "# small" in card
    assert "| training steps | 7 |" in card
    assert "| books | CC0-1.0 | 1 |" in card
    assert "datasheet" not in card
    sheet = datasheet.write(run)
    again = to_huggingface(path, tokenizer, run.export)
    assert (
        "The [datasheet](datasheet.md) of the corpus ([as data](datasheet.json))" in (again / "README.md").read_text()
    )
    assert (again / "datasheet.md").read_text() == datasheet.markdown(sheet)
    assert (again / "datasheet.json").read_bytes() == (run.root / "datasheet.json").read_bytes()
    half = to_huggingface(path, tokenizer, tmp_path / "half", dtype="bfloat16")
    assert load_file(half / "model.safetensors")["model.norm.weight"].dtype == torch.bfloat16
    assert json.loads((half / "config.json").read_text())["dtype"] == "bfloat16"
