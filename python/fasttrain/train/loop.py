"""The training loop: batch -> gradient -> guard -> update -> metrics -> checkpoint -> evaluation, until the last step.

Everything that decides is the same on every rank, and everything that a later step depends on is in the checkpoint or a
pure function of the step: a run that is killed at any moment and started again ends with the same bytes.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fasttrain.batch.order import BatchConfig, Order
from fasttrain.checkpoint.config import CheckpointConfig
from fasttrain.comm.group import Group
from fasttrain.comm.mesh import LayoutConfig, build_mesh
from fasttrain.core.errors import ConfigError, FasttrainError
from fasttrain.core.log import Progress, progress
from fasttrain.core.malloc import keep_pages
from fasttrain.core.precision import DTYPES, Precision
from fasttrain.formats import atomic
from fasttrain.formats.run_folder import RunFolder
from fasttrain.formats.shards import open_shards
from fasttrain.mixture.plan import Mixture
from fasttrain.model.config import ModelConfig
from fasttrain.model.cost import FLOPS_FORMULA, flops_per_token, num_params
from fasttrain.monitor.guard import Decision, Guard, GuardConfig
from fasttrain.monitor.metrics import MetricsLog, read_lines
from fasttrain.monitor.throughput import MFU_FORMULA, Throughput, memory_bytes, peak_flops
from fasttrain.optim.config import OptimConfig, learning_rate
from fasttrain.parallel.engine import Engine, Sums
from fasttrain.train import initial
from fasttrain.train.config import TrainConfig
from fasttrain.train.feed import cut_probe, probe_rows, training_rows
from fasttrain.train.machine import (
    StopSignal,
    choose_device,
    choose_precision,
    choose_threads,
    local_rank,
    torch_settings,
)
from fasttrain.train.state import Keeper, State, started_precision

log = logging.getLogger("fasttrain.train")

_WORDS = {"ok": "ok", "log": "logged", "skip": "skipped", "rollback": "rollback", "halt": "halted"}


class TrainingHalted(FasttrainError):
    """The guard stopped the run; the weights before the flagged step are in the newest checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a run stands."""

    step: int
    """Steps done."""
    num_steps: int
    """Steps of the whole run."""
    tokens: int
    """Targets trained on."""
    loss: float | None
    """Of the last step, nats a token."""
    val_loss: float | None
    """Of the last evaluation, nats a token; None without a probe set or before the first evaluation."""

    @property
    def is_finished(self) -> bool:
        """Whether every step is done (a run that was asked to stop is not)."""
        return self.step >= self.num_steps


def run(
    folder: RunFolder,
    *,
    model: ModelConfig,
    optim: OptimConfig,
    batch: BatchConfig,
    layout: LayoutConfig,
    train: TrainConfig,
    guard: GuardConfig,
    checkpoint: CheckpointConfig,
    mixture: Mixture,
    seed: int,
    world: Group,
    fingerprints: Mapping[str, str],
    base: Path = Path(),
) -> Result:
    """Train on the token shards of a run folder, or go on where an interrupted run was; called by every rank.

    A finished run returns at once. SIGTERM on any rank saves a checkpoint and returns a result that is not finished.
    Args:
        layout: how ranks share the work; may change between start and resume.
        mixture: weights by source.
        fingerprints: of what the run depends on (data, recipe); a checkpoint with others is refused.
        base: the folder that relative paths of the settings start from.
    Raises: ConfigError: settings that do not fit the ranks, the data or the checkpoint. TrainingHalted: the guard.
    """
    keep_pages()
    num_steps = train.resolve_steps(batch)
    done = world.bcast(_finished(folder, num_steps, fingerprints) if world.is_root else None)
    if done is not None:
        log.info("train: finished before, %d steps", num_steps)
        return Result(**done)
    rank_here, ranks_here = local_rank(world)
    device = choose_device(train.device, rank_here)
    started = world.bcast(started_precision(folder.checkpoints) if world.is_root else None)
    precision = choose_precision(train.precision, device, world, started=started)
    with torch_settings(choose_threads(train.threads, ranks_here)), StopSignal().listening() as stop:
        loop = Loop(
            folder,
            model=model,
            optim=optim,
            batch=batch,
            layout=layout,
            train=train,
            guard=guard,
            checkpoint=checkpoint,
            mixture=mixture,
            seed=seed,
            world=world,
            fingerprints=fingerprints,
            device=device,
            precision=precision,
            stop=stop,
            base=base,
        )
        with loop:
            return loop.run()


class Loop:
    """One run on one rank."""

    def __init__(
        self,
        folder: RunFolder,
        *,
        model: ModelConfig,
        optim: OptimConfig,
        batch: BatchConfig,
        layout: LayoutConfig,
        train: TrainConfig,
        guard: GuardConfig,
        checkpoint: CheckpointConfig,
        mixture: Mixture,
        seed: int,
        world: Group,
        fingerprints: Mapping[str, str],
        device: torch.device,
        precision: Precision,
        stop: StopSignal,
        base: Path,
    ) -> None:
        self.seed, self.base = seed, base
        self.folder, self.world, self.device, self.stop = folder, world, device, stop
        self.model, self.optim, self.train, self.precision = model, optim, train, precision
        self.num_steps = train.resolve_steps(batch)
        self.fingerprints = dict(fingerprints)
        self.mesh = build_mesh(world, layout)
        if batch.global_batch < self.mesh.dp.size:
            raise ConfigError(
                f"batch.global_batch: must be at least layout.dp = {self.mesh.dp.size}, got {batch.global_batch}"
            )
        self.order = self._open_order(mixture, batch)
        probe = open_shards(folder.shards / "probe")
        self.probe = {name: cut_probe(shard, train.eval_tokens) for name, shard in probe.items() if shard.num_docs}
        self.engine = Engine(
            model,
            self.mesh,
            optim,
            seed=seed,
            num_sources=max(len(self.order.source_names), len(self.probe)),
            precision=precision,
            device=device,
            overlap=train.overlap,
        )
        self.guard = Guard(guard)
        self.state = State()
        self.keeper = Keeper(folder.checkpoints, checkpoint, world, identity=self._identity(model, seed))
        self.metrics: MetricsLog | None = None
        self.throughput: Throughput
        self._rollbacks: dict[int, int] = {}

    def _open_order(self, mixture: Mixture, batch: BatchConfig) -> Order:
        shards = open_shards(self.folder.shards / "train")
        if not shards:
            raise ConfigError(f"{self.folder.shards / 'train'}: holds no token shards; run `prepare` first")

        def build() -> Order:
            cache = self.folder.train / "order"
            return Order(shards, mixture.weights, batch, data_fingerprint=self.fingerprints.get("data"), cache=cache)

        if self.world.is_root:  # builds the index of best-fit packing, the others map it
            order = build()
        self.world.barrier()
        return order if self.world.is_root else build()

    def _identity(self, model: ModelConfig, seed: int) -> dict[str, Any]:
        """What a checkpoint must share with this run to be gone on with."""
        return {
            "model": model.to_dict(),
            "optim": self.optim.to_dict(),
            "order": self.order.fingerprint,
            "num_steps": self.num_steps,
            "precision": self.precision,
            "seed": seed,
            "fingerprints": self.fingerprints,
        }

    def __enter__(self) -> "Loop":
        return self

    def __exit__(self, *exc: Any) -> None:
        if self.metrics is not None:
            self.metrics.close()

    # ---- the run

    def run(self) -> Result:
        """Go on from the newest checkpoint, or begin, and train to the end."""
        newest = self.keeper.newest()
        if newest is not None:
            self._load(newest)
        elif (weights := initial.read(self.train, self.model, self.folder, self.base, self.seed)) is not None:
            self.engine.load(weights, optimizer_steps=None)
        self._begin_metrics(is_resumed=newest is not None)
        if newest is None and self.guard.config.policy == "rollback":
            self._save()  # somewhere to go back to
        per_step = self.order.config.global_batch * self.order.config.seq_len
        left = (self.num_steps - self.state.step) * per_step
        with progress("train", left, "tokens", enabled=self.world.is_root) as bar:
            while self.state.step < self.num_steps:
                if self.world.reduce(float(self.stop.is_set), "max"):
                    return self._stop()
                self._step(bar, per_step)
        self.keeper.wait()
        result = self._result()
        if self.world.is_root:
            self._event("finish", step=self.state.step, tokens=self.state.tokens)
            atomic.write_json(_result_path(self.folder), {"result": asdict(result), "fingerprints": self.fingerprints})
        self.world.barrier()
        return result

    def _step(self, bar: Progress, per_step: int) -> None:
        self.throughput.start()
        self.engine.clock.take()
        state, index = self.state, self.guard.skips.batch_of(self.state.step)
        micros = training_rows(self.order, index, self.mesh.dp, size=self.train.micro_batch, device=self.device)
        lr = learning_rate(self.optim, state.step, self.num_steps)
        sums = self.engine.forward_backward(micros, step=index)
        # Equal on all ranks by construction, but decisions must not hang on that, and one rank alone may hold a NaN (a
        # fault of its memory, say): the first pair that is not finite counts, else rank 0's.
        pairs = self.world.allgather((sums.mean_loss, self.engine.grad_norm()))
        loss, norm = next((pair for pair in pairs if not all(map(math.isfinite, pair))), pairs[0])
        decision = self._judge(loss, norm)
        if decision.action == "rollback":
            return self._roll_back(decision, index, loss, norm)
        if decision.action == "halt":
            raise self._halt(decision, index, loss, norm)
        word = _WORDS[decision.action]
        if decision.may_update:
            is_overflow = not math.isfinite(norm)
            if is_overflow:
                word = "overflow"
            else:
                self.engine.update(lr=lr, grad_norm=norm)
            self.engine.scaler.update(is_overflow)
        state.step += 1
        state.tokens += sums.num_tokens
        state.line = {
            "tokens": state.tokens,
            "loss": loss,
            "loss_by_source": sums.mean_by_source(self.order.source_names),
            "grad_norm": norm,
            "lr": lr,
            **self.throughput.step(sums.num_tokens),
            "comm_s": self.engine.clock.take(),
            "memory_bytes": int(self.world.reduce(memory_bytes(self.device), "max")),
            "guard": word,
            "batch": index,
        }
        if decision.reason:
            state.line |= {"guard_reason": decision.reason, "loss_z": decision.loss_z, "norm_z": decision.norm_z}
            self._warn(f"step {state.step} {word}", decision, index, loss, norm)
        if self.keeper.is_due(state.step, self.num_steps):
            self._save()  # before the evaluation, which may fail for reasons of its own
        self._finish_step()
        bar.advance(per_step, f"loss {loss:.4f}, grad {norm:.3g}, lr {lr:.2e}, MFU {state.line['mfu']:.1%}")

    def _judge(self, loss: float, norm: float) -> Decision:
        """The guard's decision, except for an overflow of the loss scale, which says nothing about the batch."""
        if self.engine.scaler.is_enabled and math.isfinite(loss) and not math.isfinite(norm):
            return Decision("ok")
        return self.guard.agree(self.guard.check(loss, norm), self.world)

    def _finish_step(self) -> None:
        """Evaluate when it is time, then write the step's line."""
        state, every = self.state, self.train.eval_every
        if self.probe and (state.step == self.num_steps or (every and state.step % every == 0)):
            sums = self.evaluate()
            state.val_loss = sums.mean_loss
            state.line |= {"val_loss": sums.mean_loss, "val_loss_by_source": sums.mean_by_source(sorted(self.probe))}
            if self.keeper.is_due(state.step, self.num_steps):
                self.keeper.record(state.step, sums.mean_loss)
        if self.metrics is not None:
            self.metrics.step(state.step, **state.line)

    def evaluate(self) -> Sums:
        """Losses on the probe set, the same on every rank."""
        config = self.order.config
        micros = probe_rows(
            self.probe,
            self.mesh.dp,
            seq_len=config.seq_len,
            size=self.train.micro_batch or max(1, config.global_batch // self.mesh.dp.size),
            document_mask=config.document_mask,
            device=self.device,
        )
        return self.engine.evaluate(micros)

    # ---- what the guard leads to

    def _roll_back(self, decision: Decision, index: int, loss: float, norm: float) -> None:
        """Return to the newest checkpoint and leave the batches around `index` out from now on."""
        from_step, skips = self.state.step + 1, self.guard.skips.to_list()
        newest = self.keeper.newest()
        assert newest is not None, "under this policy step 0 is saved"
        self._rollbacks[newest] = self._rollbacks.get(newest, 0) + 1
        if self._rollbacks[newest] > self.guard.config.max_consecutive:
            reason = f"{decision.reason}, again after {self.guard.config.max_consecutive} returns to step {newest}"
            raise self._halt(replace(decision, reason=reason), index, loss, norm)
        self._load(newest)
        for begin, end in skips:
            self.guard.skips.add(begin, end)
        self.guard.roll_back(index)
        self._warn(f"step {from_step} rolled back to step {newest}", decision, index, loss, norm)
        if self.world.is_root:
            self._open_metrics()
            self._event(
                "rollback",
                step=newest,
                from_step=from_step,
                skips=self.guard.skips.to_list(),
                **_evidence(decision, index, loss, norm),
            )

    def _halt(self, decision: Decision, index: int, loss: float, norm: float) -> TrainingHalted:
        """Save the weights as they were before the flagged step; return the error to raise."""
        step = self.state.step + 1
        self._save()
        self.keeper.wait()
        self._event("halt", step=self.state.step, from_step=step, **_evidence(decision, index, loss, norm))
        return TrainingHalted(
            f"train: halted at step {step} by the guard: {decision.reason} (loss {loss:.4g}, gradient norm {norm:.3g}, "
            f"batch {index}); `audit --step {step}` shows its documents; change guard.policy or the data to go on"
        )

    def _stop(self) -> Result:
        """Save after a signal."""
        self._save()
        self.keeper.wait()
        self._event("stop", step=self.state.step)
        log.info("train: asked to stop, saved step %d of %d; start again to go on", self.state.step, self.num_steps)
        return self._result()

    def _warn(self, what: str, decision: Decision, index: int, loss: float, norm: float) -> None:
        if self.world.is_root:
            log.warning(
                "train: %s: %s (loss %.4g, gradient norm %.3g, batch %d)", what, decision.reason, loss, norm, index
            )

    # ---- state

    def _load(self, step: int) -> None:
        self.keeper.load(step, self.engine, self.guard, self.state)

    def _save(self) -> None:
        self.keeper.save(self.engine, self.guard, self.state)

    def _result(self) -> Result:
        state = self.state
        loss = state.line.get("loss")
        return Result(
            step=state.step, num_steps=self.num_steps, tokens=state.tokens, loss=loss, val_loss=state.val_loss
        )

    # ---- metrics.jsonl

    def _begin_metrics(self, *, is_resumed: bool) -> None:
        """Open the file, and write what a kill left unwritten behind the checkpoint: its step's evaluation and line."""
        dtype = DTYPES[self.precision]
        peak = self.world.bcast(peak_flops(self.device, dtype, self.train.peak_flops) if self.world.is_root else None)
        flops = flops_per_token(self.model, self.order.config.seq_len)
        self.throughput = Throughput(flops_per_token=flops, peak=peak, num_ranks=self.world.size)
        lines: list[dict[str, Any]] = []
        if self.world.is_root:
            lines = [] if not is_resumed else read_lines(self.folder.metrics)
            lines = [line for line in lines if line.get("step", -1) <= self.state.step]
            self._open_metrics(fresh=not is_resumed)
            mesh = self.mesh
            about = {
                "layout": {"dp": mesh.dp.size, "tp": mesh.tp.size, "pp": mesh.pp.size},
                "device": self.device.type,
                "precision": self.precision,
                "threads": torch.get_num_threads(),
                "peak_flops": peak.flops,
                "peak_source": peak.source,
            }
            if not any(line.get("event") == "start" for line in lines):
                self._event(
                    "start",
                    order=self.order.fingerprint,
                    num_params=num_params(self.model).total,
                    num_steps=self.num_steps,
                    mfu_formula=MFU_FORMULA,
                    flops_formula=FLOPS_FORMULA,
                    flops_per_token=flops,
                    **({"init_from": self.train.init_from} if self.train.init_from else {}),
                    **about,
                )
            if is_resumed:
                self._event("resume", step=self.state.step, **about)
        steps = [line for line in lines if "step" in line and "event" not in line]
        values = [line["val_loss"] for line in steps if "val_loss" in line]
        is_written = any(line["step"] == self.state.step for line in steps)
        is_written, self.state.val_loss = self.world.bcast((is_written, values[-1] if values else None))
        if self.state.line and not is_written:
            self._finish_step()

    def _open_metrics(self, *, fresh: bool = False) -> None:
        if self.metrics is not None:
            self.metrics.close()
        board = self.folder.train / "tensorboard" if self.train.tensorboard else None
        self.metrics = MetricsLog(
            self.folder.metrics, resume_step=None if fresh else self.state.step, tensorboard=board
        )

    def _event(self, name: str, **values: Any) -> None:
        if self.metrics is not None:
            self.metrics.event(name, **values)


def _evidence(decision: Decision, index: int, loss: float, norm: float) -> dict[str, Any]:
    return {
        "reason": decision.reason,
        "batch": index,
        "loss": loss,
        "grad_norm": norm,
        "loss_z": decision.loss_z,
        "norm_z": decision.norm_z,
    }


def _result_path(folder: RunFolder) -> Path:
    return folder.train / "result.json"


def _finished(folder: RunFolder, num_steps: int, fingerprints: Mapping[str, str]) -> dict[str, Any] | None:
    """The result of a run that has nothing left to do."""
    path = _result_path(folder)
    if not path.exists():
        return None
    found = atomic.read_json(path)
    if found["fingerprints"] != dict(fingerprints) or found["result"]["num_steps"] != num_steps:
        return None
    result: dict[str, Any] = found["result"]
    return result
