"""The evaluation of a run: its checkpoint on its probe shards, baselines, generations, gates -> eval/eval.json."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fasttrain.checkpoint import store
from fasttrain.comm.group import Group, SoloGroup
from fasttrain.comm.threads import threads_of_rank
from fasttrain.core.config import fingerprint
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.eval import baselines
from fasttrain.eval.config import EvalConfig
from fasttrain.eval.gates import judge
from fasttrain.eval.generate import Codec, Generation, generate
from fasttrain.eval.load import load_model
from fasttrain.eval.result import EvalResult
from fasttrain.eval.score import ALL, Score, score_shard, total
from fasttrain.formats import atomic
from fasttrain.formats.run_folder import RunFolder
from fasttrain.formats.shards import Shard, open_shards
from fasttrain.model.transformer import Transformer

log = logging.getLogger("fasttrain.eval")
FILE = "eval.json"


def run(
    folder: RunFolder,
    config: EvalConfig,
    tokenizer: Codec,
    *,
    world: Group | None = None,
    checkpoint: str = "newest",
    device: str = "cpu",
) -> EvalResult:
    """Evaluate a checkpoint and write eval/eval.json; every rank calls it and gets the same result.

    The ranks share the probe set; the scores have the same bits for any number of them. Gates are judged, not raised:
    call `result.check()` when everything else is done.
    Args:
        checkpoint: newest, best or a step.
    Raises: FormatError: no probe shards, no checkpoint. ConfigError: a gate that cannot be judged.
    """
    group = world or SoloGroup()
    start = time.monotonic()
    torch.set_num_threads(threads_of_rank())  # ranks of a host share its cores
    path = find_checkpoint(folder, checkpoint)
    model, meta = load_model(path, device=device)
    probe = {name: shard for name, shard in open_shards(folder.shards / "probe").items() if shard.num_docs}
    if not probe:
        raise FormatError(f"eval: {folder.shards / 'probe'}: holds no probe documents; run `fasttrain prepare` first")
    mask = document_mask(folder)
    context = context_tokens(folder, config, model)
    scores = {
        name: score_shard(model, shard, eot_id=tokenizer.eot_id, context_tokens=context,
                          overlap_tokens=config.overlap_tokens, batch_tokens=config.batch_tokens, document_mask=mask,
                          world=group)
        for name, shard in probe.items()
    }  # fmt: skip
    scores[ALL] = total(scores)
    beside = group.bcast(_baselines(folder, config, tokenizer, probe) if group.is_root else None)
    texts = group.bcast(_generations(model, tokenizer, config, mask) if group.is_root else None)
    result = EvalResult(
        checkpoint={"path": _relative(path, folder.root), "step": meta["step"], "tokens": meta.get("tokens")},
        probe={
            "fingerprint": fingerprint({name: shard.fingerprint for name, shard in probe.items()}),
            "documents": scores[ALL].documents,
            "tokens": scores[ALL].tokens,
            "bytes": scores[ALL].num_bytes,
            "context_tokens": context,
            "overlap_tokens": config.overlap_tokens,
            "document_mask": mask,
        },
        scores=scores,
        baselines=beside,
        generations=tuple(texts),
        gates=judge(config.gates, scores, beside),
        seconds=round(time.monotonic() - start, 3),
        settings=config.to_dict(),
    )
    if group.is_root:
        atomic.write_json(folder.eval / FILE, result.to_dict())
        log.info("eval: step %s, %.4f bits per byte on %d probe documents", meta["step"], scores[ALL].bpb,
                 scores[ALL].documents)  # fmt: skip
    group.barrier()
    return result


def generate_from(
    folder: RunFolder,
    tokenizer: Codec,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 64,
    temperature: float = 0.8,
    top_k: int = 50,
    seed: int = 0,
    checkpoint: str = "newest",
    device: str = "cpu",
) -> list[Generation]:
    """Continue prompts with a run's checkpoint (newest, best or a step).

    Raises: FormatError: no checkpoint. ConfigError: more new tokens than the model's context has room for.
    """
    model, _ = load_model(find_checkpoint(folder, checkpoint), device=device)
    if max_new_tokens >= model.config.max_seq_len:
        raise ConfigError(
            f"generate: --max-new-tokens must be below the model's context of {model.config.max_seq_len}, "
            f"got {max_new_tokens}"
        )
    return generate(model, tokenizer, prompts, max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k,
                    seed=seed, document_mask=document_mask(folder))  # fmt: skip


def find_checkpoint(folder: RunFolder, name: str) -> Path:
    """Path of the newest or the best checkpoint, or that of a step."""
    return store.named(folder.checkpoints, name)


def document_mask(folder: RunFolder) -> bool:
    """Whether the run trains with attention that stops at document boundaries."""
    return bool(_batch(folder).get("document_mask", False))


def context_tokens(folder: RunFolder, config: EvalConfig, model: Transformer) -> int:
    """Longest input to score: positions beyond those that training saw say nothing of what it learnt."""
    limit = model.config.max_seq_len
    if config.context_tokens > limit:
        raise ConfigError(
            f"eval.context_tokens: must be at most model.max_seq_len = {limit}, got {config.context_tokens}"
        )
    return config.context_tokens or min(limit, int(_batch(folder).get("seq_len", limit)))


def _batch(folder: RunFolder) -> dict[str, Any]:
    recipe = folder.root / "recipe.json"
    found: dict[str, Any] = atomic.read_json(recipe).get("batch", {}) if recipe.exists() else {}
    return found


def _baselines(
    folder: RunFolder, config: EvalConfig, tokenizer: Codec, probe: dict[str, Shard]
) -> dict[str, dict[str, Score]]:
    out: dict[str, dict[str, Score]] = {}
    if {"unigram", "bigram"} & set(config.baselines):
        train = open_shards(folder.shards / "train")
        ngrams = baselines.count(train, tokenizer.vocab_size, tokenizer.eot_id, config.baseline_tokens)
        out = baselines.score_ngrams(ngrams, probe, tokenizer.eot_id)
    if "zstd" in config.baselines:
        out["zstd"] = baselines.score_zstd(probe, tokenizer, config.zstd_level)
    return {name: out[name] for name in config.baselines}


def _generations(model: Transformer, tokenizer: Codec, config: EvalConfig, mask: bool) -> list[Generation]:
    room = min(config.max_new_tokens, model.config.max_seq_len - 1)
    return generate(model, tokenizer, config.prompts, max_new_tokens=room, temperature=config.temperature,
                    top_k=config.top_k, seed=config.seed, document_mask=mask)  # fmt: skip


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
