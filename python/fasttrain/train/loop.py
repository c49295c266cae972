"""The training loop: batch -> gradient -> guard -> update -> metrics -> checkpoint -> evaluation, until the last step.

Everything that decides is the same on every rank, and everything that a later step depends on is in the checkpoint or a
pure function of the step: a run that is killed at any moment and started again ends with the same bytes.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fasttrain.batch.order import BatchConfig
from fasttrain.checkpoint.config import CheckpointConfig
from fasttrain.comm.group import Group
from fasttrain.comm.mesh import LayoutConfig, build_mesh
from fasttrain.core.log import Progress, progress
from fasttrain.core.malloc import keep_pages
from fasttrain.core.precision import DTYPES, Precision
from fasttrain.formats.run_folder import RunFolder
from fasttrain.formats.shards import open_shards
from fasttrain.mixture.plan import Mixture
from fasttrain.model.config import ModelConfig
from fasttrain.model.cost import flops_per_token
from fasttrain.model.recompute import every
from fasttrain.monitor.guard import Decision, Guard, GuardConfig
from fasttrain.monitor.memory import PeakMemory
from fasttrain.monitor.spans import ASIDE, WAITING, shares
from fasttrain.optim.config import OptimConfig, learning_rate
from fasttrain.parallel.engine import Engine
from fasttrain.parallel.sums import Sums
from fasttrain.train import gradient, initial, result
from fasttrain.train.config import TrainConfig
from fasttrain.train.feed import Rows, cut_probe, probe_rows, training_rows
from fasttrain.train.gradient import Gradient
from fasttrain.train.incident import Incident, Rescue
from fasttrain.train.journal import Journal
from fasttrain.train.machine import (
    StopSignal,
    choose_device,
    choose_precision,
    choose_threads,
    garbage_between_steps,
    local_rank,
    torch_settings,
)
from fasttrain.train.prefetch import Prefetch
from fasttrain.train.profile import Profile
from fasttrain.train.result import Result
from fasttrain.train.setup import Setup, check_layout
from fasttrain.train.state import Keeper, State, started_precision

log = logging.getLogger("fasttrain.train")

_WORDS = {"ok": "ok", "log": "logged", "skip": "skipped", "rollback": "rollback", "halt": "halted"}


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
    profile: int = 0,
) -> Result:
    """Train on the token shards of a run folder, or go on where an interrupted run was; called by every rank.

    A finished run returns at once. SIGTERM on any rank saves a checkpoint and returns a result that is not finished.
    Ctrl-C does the same and raises KeyboardInterrupt then, so that nothing behind the training begins.
    Args:
        layout: how ranks share the work; may change between start and resume.
        mixture: weights by source.
        fingerprints: of what the run depends on (data, recipe); a checkpoint with others is refused.
        base: the folder that relative paths of the settings start from.
        profile: so many steps are profiled, behind the first few: train/profile/ in the run folder.
    Raises: ConfigError: settings that do not fit the ranks, the data or the checkpoint. TrainingHalted: the guard.
    """
    keep_pages()
    setup = Setup(
        folder=folder,
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
        base=base,
        profile=profile,
    )
    done: Result | None = world.bcast(result.finished(folder, setup.num_steps, fingerprints) if world.is_root else None)
    if done is not None:
        log.info("train: finished before, %d steps", setup.num_steps)
        return done
    rank_here, ranks_here = local_rank(world)
    device = choose_device(train.device, rank_here)
    started = world.bcast(started_precision(folder.checkpoints) if world.is_root else None)
    precision = choose_precision(train.precision, device, world, started=started)
    threads = choose_threads(train.threads, ranks_here)
    with torch_settings(threads, deterministic=train.deterministic), StopSignal().listening() as stop:
        with Loop(setup, device=device, precision=precision, stop=stop) as loop:
            done = loop.run()
    if stop.is_interrupt:
        raise KeyboardInterrupt
    return done


class Loop:
    """One run on one rank."""

    def __init__(self, setup: Setup, *, device: torch.device, precision: Precision, stop: StopSignal) -> None:
        self.setup, self.device, self.precision, self.stop = setup, device, precision, stop
        self.world, self.train, self.num_steps = setup.world, setup.train, setup.num_steps
        check_layout(setup.model, setup.batch, setup.layout, setup.world.size)
        self.memory = PeakMemory(device)
        self.mesh = build_mesh(setup.world, setup.layout)
        self.order = setup.open_order()
        probe = open_shards(setup.folder.shards / "probe")
        self.probe = {n: cut_probe(shard, setup.train.eval_tokens) for n, shard in probe.items() if shard.num_docs}
        self.engine = Engine(
            setup.model,
            self.mesh,
            setup.optim,
            seed=setup.seed,
            num_sources=max(len(self.order.source_names), len(self.probe)),
            precision=precision,
            device=device,
            overlap=setup.train.overlap,
            ema_decay=setup.train.ema_decay,
            recompute=every(setup.train.recompute),
            cuda_graph=setup.train.cuda_graph == "auto" and not setup.profile,
        )
        self.world = self.engine.mesh.world  # the same ranks, and what is waited for them is counted
        self.guard = Guard(setup.guard)
        self.state = State()
        self.keeper = Keeper(setup.folder.checkpoints, setup.checkpoint, setup.world, identity=self._identity())
        self.journal = Journal(setup, self.mesh, device, precision)
        self.rescue = Rescue(self.keeper, self.journal, self.engine, self.guard, self.state)
        self.profile = self._profile()

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must share with this run to be gone on with."""
        setup = self.setup
        return {
            "model": setup.model.to_dict(),
            "optim": setup.optim.to_dict(),
            "order": self.order.fingerprint,
            "num_steps": self.num_steps,
            "precision": self.precision,
            "seed": setup.seed,
            "fingerprints": dict(setup.fingerprints),
        }

    def __enter__(self) -> "Loop":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.journal.close()

    # ---- the run

    def run(self) -> Result:
        """Go on from the newest checkpoint, or begin, and train to the end."""
        newest = self.keeper.newest()
        if newest is not None:
            self.keeper.load(newest, self.engine, self.guard, self.state)
        about = {} if newest is not None else {"packing": self.order.packing(), **self._begin()}
        if self.journal.begin(self.state, is_resumed=newest is not None, order=self.order.fingerprint, **about):
            self._finish_step()
        if newest is None and self.guard.config.policy == "rollback":
            self._save()  # somewhere to go back to
        batch, first = self.setup.batch, self.state.first_batch
        left = batch.num_tokens(first + self.num_steps) - batch.num_tokens(first + self.state.step)
        with (
            progress("train", left, "tokens", enabled=self.world.is_root) as bar,
            Prefetch(self._rows, depth=self.train.prefetch) as feed,
            garbage_between_steps() as collect,
        ):
            self._start_clocks()
            while self.state.step < self.num_steps:
                with self.engine.spans("profile", is_traced=False):  # it starts and ends in the middle
                    self.profile.step()
                if not self._step(feed, bar):
                    return self._stop()
                collect(self.state.step)
        self.profile.finish()
        self.keeper.wait()
        done = self._result()
        if self.world.is_root:
            self.journal.event("finish", step=self.state.step, tokens=self.state.tokens)
            result.write(self.setup.folder, done, self.setup.fingerprints)
        self.world.barrier()
        return done

    def _profile(self) -> Profile:
        # AdamW reads 16 bytes a parameter and writes 12; the norm reads 4, the check of the moments 8; bf16 weights are
        # read and written in 4 bytes less. What Muon moves beside its products, which are ops, is not told.
        flat = self.engine.flat
        state_bytes = 0 if self.setup.optim.name == "muon" else 40 * flat.size - 4 * flat.num_halves
        num_steps = self.setup.profile if self.world.is_root else 0
        batch = self.setup.batch
        tokens = batch.global_batch * batch.seq_len
        return Profile(
            self.setup.folder.train / "profile",
            num_steps,
            device=self.device,
            dtype=DTYPES[self.precision],
            state_bytes=state_bytes,
            model_flops=tokens * flops_per_token(self.setup.model, batch.seq_len) / self.world.size,
        )

    def _begin(self) -> dict[str, Any]:
        """Random weights, another run's, or another run's with its optimizer; return what the start is to tell."""
        setup = self.setup
        found = initial.branch(setup.train, setup.model, setup.folder, setup.base)
        if found is not None:
            same_data = self.keeper.branch(found, self.engine, self.guard, self.state)
            before, after = found.meta["line"].get("lr", 0.0), learning_rate(setup.optim, 0, self.num_steps)
            if self.world.is_root and after > 1.1 * before:
                log.warning(
                    "train: the rate goes from %.3g, where %s ended, to %.3g; set optim.lr to the former for a decay "
                    "without a jump, or optim.warmup_steps", before, found.path, after,
                )  # fmt: skip
            return {"init_step": found.step, "init_optimizer": True, "init_same_data": same_data}
        weights = initial.read(setup.train, setup.model, setup.folder, setup.base, setup.seed)
        if weights is not None:
            self.engine.load(weights, optimizer_steps=None)
        return {}

    def _rows(self, index: int) -> Rows:
        vocab = self.setup.model.vocab_size
        size = self.train.micro_batch
        return training_rows(self.order, index, self.mesh.dp, size=size, vocab_size=vocab, device=self.device)

    def _batch_of(self, step: int) -> int:
        """The place in the order that a step of this run takes."""
        return self.guard.skips.batch_of(self.state.first_batch + step)

    def _step(self, feed: Prefetch[Rows], bar: Progress) -> bool:
        """Do one step, or go back to a checkpoint; return False when some rank was asked to stop."""
        state, spans = self.state, self.engine.spans
        index = self._batch_of(state.step)
        with spans("data"):
            rows = feed.get(index, [self._batch_of(state.step + 1 + i) for i in range(feed.depth)])
        self.profile.saw(rows.micros)
        flags = np.array([self.stop.is_set, bool(rows.damage)], np.float64)
        self.world.allreduce_(flags, "max")
        if flags[0]:
            return False
        lr = learning_rate(self.setup.optim, state.step, self.num_steps)
        found = gradient.compute(self.engine, rows, index, self.world, any_damaged=bool(flags[1]))
        incident = Incident(decision=Decision("ok"), batch=index, loss=found.loss, norm=found.norm)
        if found.state_damage is not None:
            self.rescue.repair(found.state_damage, incident)
            self._start_clocks()
            return True
        decision = gradient.judge(found, self.guard, self.world)
        incident = replace(incident, decision=decision)
        if decision.action == "rollback":
            self.rescue.roll_back(incident)
            self._start_clocks()
            return True
        if decision.action == "halt":
            raise self.rescue.halt(incident)
        word = _WORDS[decision.action]
        if decision.may_update:
            if found.is_overflow:
                word = "overflow"
            else:
                with spans("optimizer"):
                    self.engine.update(lr=lr, grad_norm=found.norm)
            self.engine.scaler.update(found.is_overflow)
        state.step += 1
        self._note(found, index, word, lr)
        if decision.reason:
            state.line |= {"guard_reason": decision.reason, "loss_z": decision.loss_z, "norm_z": decision.norm_z}
            if self.world.is_root:
                incident.warn(f"step {state.step} {word}")
        if self.keeper.is_due(state.step, self.num_steps):
            self._save()  # before the evaluation, which may fail for reasons of its own
        self._finish_step()
        tokens = self.setup.batch.rows(index) * self.setup.batch.seq_len
        bar.advance(tokens, f"loss {found.loss:.4f}, grad {found.norm:.3g}, lr {lr:.2e}, MFU {state.line['mfu']:.1%}")
        return True

    def _start_clocks(self) -> None:
        self.journal.throughput.start()
        self.engine.spans.take()

    def _note(self, found: Gradient, index: int, word: str, lr: float) -> None:
        """Make the line of the step that is over."""
        state, sums = self.state, found.sums
        num_tokens = sums.num_tokens if sums else 0
        flops = flops_per_token(self.setup.model, self.setup.batch.piece_len(index))
        mine = [self.memory.look(), self.engine.spans.of(WAITING)]
        memory, waited = self.world.allgather_array(np.array(mine, np.float64)).T
        seconds = self.engine.spans.take()
        rates = self.journal.throughput.step(num_tokens, flops, aside_s=sum(seconds.get(name, 0.0) for name in ASIDE))
        state.tokens += num_tokens
        state.line = {
            "tokens": state.tokens,
            "loss": found.loss,
            "loss_by_source": sums.mean_by_source(self.order.source_names) if sums else {},
            "grad_norm": found.norm,
            "lr": lr,
            **rates,
            **shares(seconds, rates["step_s"], waited),
            "memory_bytes": int(memory.max()),
            "epochs": {name: round(times, 6) for name, times in self.order.epochs(index + 1).items()},
            "guard": word,
            "batch": index,
        }

    def _finish_step(self) -> None:
        """Evaluate when it is time, then write the step's line."""
        state, every = self.state, self.train.eval_every
        if self.probe and (state.step == self.num_steps or (every and state.step % every == 0)):
            with self.engine.spans("checkpoint"):
                self.keeper.wait()  # what is being saved must outlive an evaluation that runs out of memory
            with self.engine.spans("evaluation"):
                sums = self.evaluate()
            state.val_loss = sums.mean_loss
            state.line |= {"val_loss": sums.mean_loss, "val_loss_by_source": sums.mean_by_source(sorted(self.probe))}
            if self.train.ema_decay:
                with self.engine.spans("evaluation"), self.engine.averaged():
                    state.line["val_loss_ema"] = self.evaluate().mean_loss
            if self.keeper.is_due(state.step, self.num_steps):
                with self.engine.spans("checkpoint"):
                    self.keeper.record(state.step, sums.mean_loss)
        spent = {f"{name}_s": self.engine.spans.of(name) for name in ("checkpoint", "evaluation")}
        state.line |= {name: seconds for name, seconds in spent.items() if seconds}
        self.journal.step(state)

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

    def _stop(self) -> Result:
        """Save after a signal."""
        self._save()
        self.keeper.wait()
        self.journal.event("stop", step=self.state.step)
        log.info("train: asked to stop, saved step %d of %d; start again to go on", self.state.step, self.num_steps)
        return self._result()

    def _save(self) -> None:
        with self.engine.spans("checkpoint"):
            self.keeper.save(self.engine, self.guard, self.state)

    def _result(self) -> Result:
        state = self.state
        loss = state.line.get("loss")
        return Result(
            step=state.step, num_steps=self.num_steps, tokens=state.tokens, loss=loss, val_loss=state.val_loss
        )
