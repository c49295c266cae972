"""A small run folder made through formats.stage, as prepare would make it: six documents, one reason for each end."""

import json

import numpy as np
import pyarrow as pa

from fasttrain.comm.group import SoloGroup
from fasttrain.core.config import Settings
from fasttrain.formats import atomic, document, ledger, shards
from fasttrain.formats.run_folder import RunFolder
from fasttrain.formats.stage import evidence, run_stage
from fasttrain.text import columns
from fasttrain.text.hash128 import hash128

MAIL = "reach me at jane.roe@example.org or 192.0.2.44 "
DOCS = [  # source, origin, licence, text
    ("web", "https://a.example/one", "CC-BY-4.0", "The quick brown fox. " * 20),
    ("web", "https://a.example/two", "CC-BY-4.0", "The quick  brown fox. " * 20 + "And a dog."),
    ("web", "https://b.example/bad", "unknown", "<script>alert('x')</script> lorem ipsum " * 4 + MAIL),
    ("code", "src/hello.py", "MIT", "def hello():\n    return 'world'\n" * 9),
    ("code", "src/human_eval.py", "Apache-2.0", "def has_close_elements(numbers, threshold): pass\n" * 5),
    ("books", "moby.txt#1", "CC0-1.0", "Call me Ishmael. Some years ago, never mind how long. " * 12),
    ("books", "moby.txt#2", "CC0-1.0", "It is a way I have of driving off the spleen. " * 12),
]


class Config(Settings):
    note: str = ""
    """Anything."""


def doc_id(index):
    source, origin, _, _ = DOCS[index]
    return hash128(columns.from_texts([f"{source}\0{origin}".encode()]))[0].tobytes()


def table(indices, language=""):
    rows = [DOCS[i] for i in indices]
    texts = [r[3] for r in rows]
    return pa.RecordBatch.from_arrays(
        [
            pa.array([doc_id(i) for i in indices], pa.binary(16)),
            pa.array([hash128(columns.from_texts([t.encode()]))[0].tobytes() for t in texts], pa.binary(16)),
            pa.array(texts, pa.large_string()),
            pa.array([r[0] for r in rows]),
            pa.array([r[1] for r in rows]),
            pa.array([r[2] for r in rows]),
            pa.array([language] * len(rows), pa.string()),
            pa.array([None] * len(rows), pa.timestamp("s", tz="UTC")),
            pa.array(["{}"] * len(rows), pa.string()),
        ],
        schema=document.SCHEMA,
    )


def build(root):
    run = RunFolder(root)
    batch = {"seq_len": 64, "global_batch": 4, "packing": "concat", "document_mask": False, "seed": 7}
    run.claim({"name": "small", "seed": 7, "batch": batch})
    alive = list(range(len(DOCS)))
    previous = None
    drops = {  # stage -> {document: (reason, score, evidence)}
        "corpus": {},
        "filter": {2: ("c4:lorem_ipsum", 1.0, {})},
        "dedup": {1: ("near:jaccard", 0.93, {"survivor": doc_id(0).hex(), "jaccard": 0.93})},
        "passages": {},
        "decontam": {4: ("benchmark:humaneval", 13.0, {"benchmark": "humaneval", "item": "HumanEval/0"})},
    }
    for name, dropped in drops.items():
        before, alive = alive, [i for i in alive if i not in dropped]

        def work(item, writer, before=before, alive=alive, dropped=dropped, name=name):
            language = "" if name == "corpus" else "en"
            writer.write(table(alive, language))
            writer.bytes_in = sum(len(DOCS[i][3]) for i in before)
            writer.bytes_out = sum(len(DOCS[i][3]) for i in alive)
            if name == "corpus":
                writer.kept = len(before)
                writer.counts["files"] = 4
                return
            writer.decide(
                name, table(before),
                decision=[ledger.DROPPED if i in dropped else ledger.KEPT for i in before],
                reason=[dropped[i][0] if i in dropped else "" for i in before],
                score=[dropped[i][1] if i in dropped else None for i in before],
                evidence=[evidence(**dropped[i][2]) if i in dropped else "{}" for i in before],
            )  # fmt: skip

        run_stage(
            name, folder=run.stage(name), config=Config(), inputs=[previous] if previous else [], world=SoloGroup(),
            body=lambda stage, work=work: stage.map_parts("parts", ["all"], work) and None,
        )  # fmt: skip
        previous = run.stage(name)

    def split(stage):
        def part(item, writer):
            indices, _ = item
            writer.write(table(indices, "en"))
            writer.kept = len(indices)

        stage.map_parts("train", [([i for i in alive if i != 6], "train")], part, key=str)
        stage.map_parts("probe", [([6], "probe")], part, key=str)

    run_stage("split", folder=run.stage("split"), config=Config(), inputs=[previous], world=SoloGroup(), body=split)
    for phase, chosen in (("train", [i for i in alive if i != 6]), ("probe", [6])):
        for source in sorted({DOCS[i][0] for i in chosen}):
            mine = [i for i in chosen if DOCS[i][0] == source]
            texts = [DOCS[i][3].encode() for i in mine]
            ids = [np.append(np.frombuffer(t, np.uint8).astype(np.uint16), 256) for t in texts]
            offsets = np.cumsum([0, *map(len, ids)]).astype(np.int64)
            keys = np.stack([np.frombuffer(doc_id(i), np.uint8) for i in mine])
            shards.write_shard(
                run.shards / phase / source, source=source, vocab_size=257, tokenizer_fingerprint="bytes",
                pieces=[(np.concatenate(ids), offsets, keys, sum(map(len, texts)))],
            )  # fmt: skip
    atomic.write_json(
        run.mixture,
        {"weights": {"books": 0.5, "code": 0.25, "web": 0.25}, "tokens": {}, "epochs": {}, "warnings": []},
    )
    return run


def write_metrics(run, steps=40):
    run.train.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    start = {"event": "start",
             "mfu_formula": "6 N + 6 L C T (causal half)", "peak_flops": 2.3e11, "num_params": 1234567,
             "layout": {"dp": 1, "tp": 1, "pp": 1},
             "packing": {"books": {"sequences": 4321, "padding": 0.0123, "documents_cut": 0.25, "tokens_cut_off": 0.5}},
             }  # fmt: skip
    lines = [start]
    for step in range(1, steps + 1):
        loss = 6 * np.exp(-step / 15) + 2 + rng.normal(0, 0.05) + (3.0 if step == 25 else 0.0)
        lines.append(
            {"step": step, "tokens": step * 512, "loss": loss,
             "loss_by_source": {"books": loss + 0.2, "code": loss - 0.4, "web": loss + 0.1},
             "grad_norm": float(abs(rng.normal(1, 0.2))), "lr": 3e-4 * min(1, step / 10), "step_s": 0.25,
             "tokens_per_s": 2048 + 10 * step, "mfu": 0.31, "comm_s": 0.004, "comm_wait_s": 0.003,
             "comm_wait_max_s": 0.01, "slowest_rank": int(step % 4 != 0), "data_s": 0.0005, "outside_s": 0.006,
             "host_s": 0.002, "memory_bytes": 123 << 20,
             "epochs": {"books": step / 30, "code": step / 90}, "guard": "skipped" if step == 25 else "ok"}
        )  # fmt: skip
        if step % 10 == 0:
            lines[-1] |= {"val_loss": loss + 0.1, "val_loss_by_source": {"books": loss + 0.3, "web": loss}}
    lines.append({"event": "resume", "step": 20})
    lines.append({"event": "rollback", "step": 20, "from_step": 29, "loss": 9.5, "grad_norm": 7.0})
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
