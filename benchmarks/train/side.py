"""One side of a whole-step benchmark in a process of its own: `side.py SIDE WORKLOAD THREADS NUM_STEPS`.

It does a step for each line on its standard input and answers with {"loss", "wall_s", "cpu_s", "peak_bytes"}, so that
whoever holds the other end can let the sides work in turn. Each side is what its user would run:

fasttrain   the engine of the training loop: gradient, norm, clip, AdamW; malloc keeps pages, as the loop sets it
compile     plain_gpt.py under autocast and torch.compile, clip_grad_norm_, fused AdamW; malloc keeps pages here too
eager       the same model as nanoGPT trains it on a CPU: autocast, clip_grad_norm_, AdamW as torch chooses it
trainer     transformers' Llama under its own Trainer with bf16
"""

import json
import resource
import sys
import tempfile
import time

import torch
import workloads as w
from plain_gpt import GPT

from fasttrain.comm.group import SoloGroup
from fasttrain.comm.mesh import LayoutConfig, build_mesh
from fasttrain.core.malloc import keep_pages
from fasttrain.model.hf_config import to_hf_config
from fasttrain.model.hf_weights import to_hf
from fasttrain.optim.config import OptimConfig
from fasttrain.parallel.engine import Engine
from fasttrain.parallel.stage import MicroBatch


class Turn:
    """Waits for a line, and answers it when the step is done."""

    def __init__(self):
        self.answers = sys.stdout
        sys.stdout = sys.stderr  # what libraries print is no answer

    def wait(self):
        if not sys.stdin.readline():
            sys.exit(0)
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def done(self, loss):
        answer = {"loss": loss, "wall_s": time.perf_counter() - self.wall, "cpu_s": time.process_time() - self.cpu}
        answer["peak_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(json.dumps(answer), file=self.answers, flush=True)


def fasttrain(work, turn, num_steps):
    keep_pages()
    optim = OptimConfig(lr=w.LR, betas=w.BETAS, eps=w.EPS, weight_decay=w.WEIGHT_DECAY, clip_norm=w.CLIP)
    mesh = build_mesh(SoloGroup(), LayoutConfig())
    engine = Engine(work.model, mesh, optim, seed=w.SEED, precision="bf16")
    for step in range(num_steps):
        turn.wait()
        tokens = w.batch(work, step)
        sources, rows = torch.zeros_like(tokens), tuple(range(work.rows))
        micro = MicroBatch(tokens=tokens, targets=w.targets(tokens), segments=None, sources=sources, rows=rows)
        sums = engine.forward_backward([micro], step=step)
        engine.update(lr=w.LR, grad_norm=engine.grad_norm())
        turn.done(sums.mean_loss)


def plain(work, turn, num_steps, compiled):
    model = GPT(work.model)
    weights = w.first_weights(work)
    weights.setdefault("head.weight", weights["embed.weight"])
    model.load_state_dict(weights)
    named = dict(model.named_parameters())
    groups = [
        {"params": [p for p in named.values() if p.ndim >= 2], "weight_decay": w.WEIGHT_DECAY},
        {"params": [p for p in named.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    fast = {"fused": True} if compiled else {}
    optimizer = torch.optim.AdamW(groups, lr=w.LR, betas=w.BETAS, eps=w.EPS, **fast)
    run = torch.compile(model) if compiled else model
    for step in range(num_steps):
        turn.wait()
        tokens = w.batch(work, step)
        with torch.autocast("cpu", torch.bfloat16):
            loss = run(tokens, w.targets(tokens))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), w.CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        turn.done(loss.item())


def trainer(work, turn, num_steps):
    import transformers

    config = transformers.AutoConfig.for_model(**to_hf_config(work.model, eot_id=0, dtype="float32"))
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.load_state_dict({n: t.clone() for n, t in to_hf(work.model, w.first_weights(work))}, strict=False)
    rows = [{"input_ids": row, "labels": row} for step in range(num_steps) for row in w.batch(work, step)]

    class InTurn(transformers.Trainer):
        def training_step(self, *args, **keys):
            self.last = super().training_step(*args, **keys)
            return self.last

        def _get_train_sampler(self, *args):
            return torch.utils.data.SequentialSampler(rows)

    class Waits(transformers.TrainerCallback):
        def on_train_begin(self, *args, **keys):
            turn.wait()

        def on_step_end(self, args, state, control, **keys):
            turn.done(used.last.item())
            if state.global_step < num_steps:
                turn.wait()

    with tempfile.TemporaryDirectory() as folder:
        args = transformers.TrainingArguments(
            output_dir=folder,
            use_cpu=True,
            bf16=True,
            per_device_train_batch_size=work.rows,
            max_steps=num_steps,
            learning_rate=w.LR,
            lr_scheduler_type="constant",
            adam_beta1=w.BETAS[0],
            adam_beta2=w.BETAS[1],
            adam_epsilon=w.EPS,
            weight_decay=w.WEIGHT_DECAY,
            max_grad_norm=w.CLIP,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        used = InTurn(model=model, args=args, train_dataset=rows, callbacks=[Waits()])
        used.train()


def main():
    side, name, threads, num_steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    turn, work = Turn(), w.WORKLOADS[name]
    torch.set_num_threads(threads)
    if side == "compile":
        keep_pages()
    if side in ("compile", "eager"):
        plain(work, turn, num_steps, compiled=side == "compile")
    else:
        {"fasttrain": fasttrain, "trainer": trainer}[side](work, turn, num_steps)


if __name__ == "__main__":
    main()
