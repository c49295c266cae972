"""`fasttrain bench` on a made folder of benchmarks: what it runs, tells, saves and compares, and its exit statuses."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fasttrain
from cli import called
from fasttrain.cli import bench_result, bench_run
from fasttrain.core.errors import ConfigError

pytestmark = pytest.mark.once
ROOT = Path(__file__).parents[2]
CORES = sorted(os.sched_getaffinity(0))

SPEED = '''
import os, time
import pytest

def spin(seconds):
    """CPU time, which a busy machine does not stretch."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

@pytest.mark.rival("itself, eight times the work")
def bench_gate_speed(gate, record, note, benchmark):
    gate(lambda: spin(0.008), lambda: spin(0.001), 2.0, runs=3)
    record("MB_per_s", 1.0)
    note("rayon", float(os.environ["RAYON_NUM_THREADS"]))
    note("omp", float(os.environ["OMP_NUM_THREADS"]))
    note("core", float(min(os.sched_getaffinity(0))))
    note("num_cores", float(len(os.sched_getaffinity(0))))
    note("cpu_time", float(benchmark._timer is time.process_time))

@pytest.mark.rival("pytest")
@pytest.mark.parametrize("size", [3])
def bench_gate_falls_short(gate, size):
    gate(lambda: spin(0.001), lambda: spin(0.004), 2.0, runs=3, work=2.0)

@pytest.mark.parametrize("rival", ["no_such_rival"])
def bench_gate_absent(gate, rival):
    pytest.importorskip(rival)

def bench_gate_answers(gate):
    assert [1] == [2], "answers differ"

@pytest.mark.parametrize("threads", [1, 2])
def bench_gate_wide(gate, threads):
    gate(lambda: spin(0.002), lambda: spin(0.001), 0.1, runs=1)

@pytest.mark.parametrize("how", ["best", "reference"])
def bench_plain(benchmark, how):
    benchmark.pedantic(spin, (0.001,), rounds=3)
'''


def made(folder, **files):
    """A checkout's folder of benchmarks, with one room, and the conftest.py of fasttrain's own."""
    room = folder / "benchmarks" / "room"
    room.mkdir(parents=True)
    shutil.copy(ROOT / "benchmarks" / "conftest.py", room.parent)
    for name, text in files.items():
        (room / f"bench_{name}.py").write_text(text)
    return room.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made(tmp_path_factory.mktemp("made"), speed=SPEED)


@pytest.fixture(scope="module")
def first(folder):
    """(how it ended, its file) of all gates."""
    path = folder.parent / "first.json"
    core = str(CORES[0])
    return called.fasttrain("bench", "--folder", folder, "--core", core, "--json", path), path


def rows_of(path):
    return {row["id"].partition("::bench_")[2]: row for row in json.loads(path.read_text())["rows"]}


def line_of(said, what):
    return next(" ".join(line.split()) for line in said.splitlines() if line.startswith(what))


def test_each_gate_has_its_verdict_and_a_failed_one_is_status_1(first):
    done, path = first
    assert done.returncode == 1
    rows = {name: bench_result.Row(**row) for name, row in rows_of(path).items()}
    assert {name: row.verdict for name, row in rows.items()} == {
        "gate_speed": "passed",
        "gate_falls_short[3]": "FAILED",
        "gate_absent[no_such_rival]": "skipped",
        "gate_answers": "ERROR",
        "gate_wide[1]": "passed",
    }
    assert 6 < rows["gate_speed"].ratio < 10, "eight times the work"
    assert 0.4 < rows["gate_falls_short[3]"].ratio < 0.6, "ours did twice the work in four times the time"
    assert rows["gate_speed"].figures["median_ms"] == pytest.approx(rows["gate_speed"].figures["ours_ms"])
    assert done.stderr.startswith("fasttrain: bench: 2 failed: room/speed falls short: size 3 0.")
    assert "; room/speed answers\n" in done.stderr


def test_the_table_tells_what_against_whom_and_how_fast(first):
    said = first[0].stdout
    assert line_of(said, "what") == "what rival ours rival's rate ratio gate verdict"
    line = line_of(said, "room/speed ").split()
    assert line[1:6] == ["itself,", "eight", "times", "the", "work"]
    assert (line[7], line[9], line[11], line[-2:]) == ("ms", "ms", "MB/s", ["2.00x", "passed"])
    short = line_of(said, "room/speed falls short: size 3 ")
    assert f" pytest {pytest.__version__} " in short
    assert short.endswith(" 2.00x FAILED")
    assert "FAILED: room/bench_speed.py::bench_gate_falls_short[3]: bench_gate_falls_short[3]: 0." in said
    assert "ERROR: room/bench_speed.py::bench_gate_answers: answers differ" in said
    assert "5 gates: 2 passed, 1 FAILED, 1 ERROR, 1 skipped; " in said
    assert "1 of more threads than 1 were left out; see --threads." in said


def test_a_rival_that_is_absent_is_skipped_with_the_command_that_installs_it(first, folder):
    said = first[0].stdout
    assert line_of(said, "room/speed absent").endswith("no_such_rival skipped: no no_such_rival")
    wanted = folder / "requirements.txt"
    assert f"{sys.executable} -m pip install --no-deps -r {wanted}" in said


def test_one_pinned_core_one_thread_and_cpu_time(first):
    figures = rows_of(first[1])["gate_speed"]["figures"]
    assert [figures[k] for k in ("rayon", "omp", "core", "num_cores", "cpu_time")] == [1, 1, CORES[0], 1, 1]
    assert f"one thread, pinned to core {CORES[0]}, CPU time" in first[0].stdout
    assert set(CORES) == os.sched_getaffinity(0), "the command itself is free again"


def test_the_file_describes_the_machine(first):
    data = json.loads(first[1].read_text())
    assert data["machine"]["num_cpus"] == os.cpu_count()
    assert set(data["machine"]["versions"]) > {"fasttrain", "python", "torch", "numpy"}
    assert data["machine"]["load_after"] >= 0
    assert data["settings"]["cores"] == CORES[:1]
    assert data["machine"]["cpu"] in first[0].stdout


def test_wall_time_and_a_choice_by_name_and_status_0(folder, tmp_path):
    path = tmp_path / "run.json"
    done = called.fasttrain("bench", "--folder", folder, "speed", "-k", "gate_speed", "--wall", "--json", path)
    assert done.returncode == 0, done.stderr
    rows = rows_of(path)
    assert list(rows) == ["gate_speed"]
    assert rows["gate_speed"]["figures"]["cpu_time"] == 0
    assert f"pinned to core {CORES[-1]}, wall time" in done.stdout


def test_compared_with_an_earlier_run(first, folder, tmp_path):
    """The earlier run had twice the ratio of one gate; its own ratios fell by nothing."""
    data = json.loads(first[1].read_text())
    for row in data["rows"]:
        if row["id"].endswith("::bench_gate_speed"):
            row["figures"]["ratio"] *= 2
            then = row["figures"]["ratio"]
    earlier = tmp_path / "earlier.json"
    earlier.write_text(json.dumps(data))
    one = ("bench", "--folder", folder, "room/bench_speed.py::bench_gate_speed", "--compare", earlier)
    done = called.fasttrain(*one, "--save", "--fail-on-loss")
    line = line_of(done.stdout, "room/speed ")
    assert f" {then:.1f}x 0." in line
    assert " passed, lost " in line
    assert "Lost more than 15 %: room/speed." in done.stdout
    assert done.returncode == 1
    assert done.stderr.endswith("fasttrain: bench: lost against the earlier run: room/speed\n")
    shown = called.fasttrain("bench", "--show", first[1], "--compare", "last", "--loss", "90")
    assert "lost" not in shown.stdout
    assert "None of its ratios" not in shown.stdout
    assert line_of(shown.stdout, "room/speed ").endswith(" passed")
    saved = list((folder.parent / ".benchmarks" / "fasttrain").glob("*.json"))
    assert [bench_result.load(path).rows[0].ratio for path in saved], "--save wrote what --compare last read"


def test_show_prints_a_saved_run_again_with_its_status(first):
    done = called.fasttrain("bench", "--show", first[1])
    assert done.returncode == 1
    assert done.stdout.splitlines()[3:8] == first[0].stdout.splitlines()[3:8]


def test_all_runs_rows_without_a_gate_but_no_reference(folder):
    listed = called.fasttrain("bench", "--folder", folder, "--list", "--all", "--threads", "1").stdout
    assert "bench_plain[best]  (room/speed plain: best)" in listed
    assert "reference" not in listed
    assert listed.endswith("6 benchmarks, 5 with a gate\n")
    done = called.fasttrain("bench", "--folder", folder, "--all", "-k", "plain and reference")
    assert done.returncode == 0, done.stderr
    assert line_of(done.stdout, "room/speed plain: reference").endswith("ms recorded")
    assert "0 gates: none; 1 without a gate" in done.stdout


def test_a_benchmark_that_kills_its_process_and_a_file_that_does_not_load(tmp_path):
    kill = "import os, signal\ndef bench_gate_a(gate):\n    os.kill(os.getpid(), signal.SIGSEGV)\n"
    kill += "def bench_gate_b(gate):\n    gate(lambda: sum(range(99999)), lambda: None, 1.0, runs=1)\n"
    broken = "import nothing_of_this_name\ndef bench_gate_c(gate): pass\n"
    done = called.fasttrain("bench", "--folder", made(tmp_path, kill=kill, broken=broken))
    assert done.returncode == 1
    assert "ERROR: room/bench_kill.py::bench_gate_a: the process ended by signal 11" in done.stdout
    assert "ERROR: room/bench_broken.py: " in done.stdout
    assert "No module named 'nothing_of_this_name'" in done.stdout
    assert line_of(done.stdout, "room/kill b").endswith("not run")


def test_a_conftest_that_does_not_load_is_told_with_what_pytest_said(tmp_path):
    folder = made(tmp_path, speed=SPEED)
    (folder / "conftest.py").write_text("import nothing_of_this_name\n")
    done = called.fasttrain("bench", "--folder", folder)
    assert done.returncode == 2
    assert "bench: pytest stopped with status 4; what it said last:" in done.stderr
    assert "No module named 'nothing_of_this_name'" in done.stderr


def test_an_interrupted_run_shows_what_is_finished(tmp_path):
    text = "import time\ndef bench_gate_a(gate):\n    gate(lambda: sum(range(99999)), lambda: None, 1.0, runs=1)\n"
    text += "def bench_gate_b(gate):\n    open('begun', 'w').close()\n    time.sleep(60)\n"
    folder = made(tmp_path, slow=text)
    command = [sys.executable, "-m", "fasttrain", "bench", "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        while not (tmp_path / "begun").exists() and child.poll() is None:
            time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate()
    assert child.returncode == 130, err
    assert line_of(out, "room/slow a").endswith("1.00x passed")
    assert line_of(out, "room/slow b").endswith(" not run")
    assert "1 not judged: interrupted" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("spead",), "no room, op or file 'spead' in FOLDER; did you mean speed? rooms: room"),
        (("--core", "x"), "--core must be numbers of cores such as 1, 0,2 or 4-7, got 'x'"),
        (("--core", "4095"), "--core 4095 must be among the cores it may use"),
        (("--core", str(CORES[0]), "--threads", "2"), "must name as many cores as --threads, 2, got 1"),
        (("--threads", "4096"), "--threads 4096 must not be more than the cores it may use"),
        (("--compare", "none.json"), "none.json: no such file"),
        (("--compare", "last"), "no run was saved in"),
        (("--fail-on-loss",), "--fail-on-loss needs --compare"),
        (("--show", "none.json", "--list"), "--show runs nothing"),
        (("--threads", "0"), "Invalid value for '--threads'"),
    ],
)
def test_a_mistake_is_one_message_and_status_2(tmp_path, arguments, words):
    place = made(tmp_path, speed=SPEED)
    done = called.fasttrain("bench", "--folder", place, *arguments)
    assert done.returncode == 2
    assert words.replace("FOLDER", str(place)) in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_to_run_says_how_to_have_more(folder):
    done = called.fasttrain("bench", "--folder", folder, "-k", "plain")
    assert done.returncode == 2
    assert "--all runs rows without a gate" in done.stderr


def test_without_a_checkout_it_says_so(tmp_path, monkeypatch):
    installed = tmp_path / "lib" / "python3" / "fasttrain"
    monkeypatch.setattr(fasttrain, "__file__", str(installed / "__init__.py"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="is installed without one; start the command in a checkout"):
        bench_run.find_folder(None)
    assert bench_run.find_folder(made(tmp_path)) == tmp_path / "benchmarks"
    assert bench_run.find_folder(None) == tmp_path / "benchmarks", "the current folder's"
    with pytest.raises(ConfigError, match="--folder must be a folder of benchmarks"):
        bench_run.find_folder(tmp_path)


def test_this_checkout_is_found():
    assert bench_run.find_folder(None) == ROOT / "benchmarks"
    assert bench_run.find_targets(ROOT / "benchmarks", ["nn", "minhash", "tokenizer/bench_unigram.py::x"]) == [
        str(ROOT / "benchmarks" / name) for name in ("nn", "dedup/bench_minhash.py", "tokenizer/bench_unigram.py::x")
    ]


def test_every_gate_of_the_checkout_names_its_rival():
    """By the mark `rival` or a parameter of that name: the table has nothing else to say it by."""
    for path in (ROOT / "benchmarks").glob("*/bench_*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("bench_"):
                marks = [ast.unparse(d) for d in node.decorator_list]
                if "gate" in [a.arg for a in node.args.args]:
                    assert any("mark.rival(" in m or "'rival'" in m for m in marks), f"{path}: {node.name}"
