"""The table of `fasttrain bench`, the machine above it, and the file of a run."""

from dataclasses import replace

import pytest
from rich.console import Console

from fasttrain.cli import bench_machine, bench_result, bench_table
from fasttrain.core.errors import FormatError

pytestmark = pytest.mark.once
RESULT = bench_result.Result(
    date="2026-11-27T12:00:00+00:00",
    machine={
        "cpu": "Z180",
        "num_cpus": 2,
        "isas": ["avx2"],
        "system": "Linux 6",
        "versions": {"fasttrain": "0.1.0", "python": "3.11.7"},
        "revision": "abc1234",
        "load_before": 0.5,
        "load_after": 1.0,
    },
    settings={"folder": "/benchmarks", "threads": 1, "cores": [1], "clock": "CPU time", "all": False, "impl": ""},
    rows=[
        bench_result.Row(
            id="nn/bench_a.py::bench_gate_a",
            what="nn/a",
            rival="torch 2.13.0",
            outcome="passed",
            figures={"rival_ms": 8.0, "ours_ms": 2.0, "ratio": 4.0, "gate": 1.5, "MB_per_s": 12.5},
            seconds=1.0,
        )
    ],
)


def test_the_whole_of_it(capsys):
    Console(width=160).print(bench_table.show(RESULT, None, loss_percent=15))
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == [
        "Z180, 2 CPUs, avx2; Linux 6; load 0.5 before, 1.0 after",
        "fasttrain 0.1.0 (abc1234), python 3.11.7; one thread, pinned to core 1, CPU time",
        "",
        "what rival ours rival's rate ratio gate verdict",
        "nn/a torch 2.13.0 2.00 ms 8.00 ms 12.5 MB/s 4.00x 1.50x passed",
        "",
        "1 gate: 1 passed; 1 s",
    ]


def test_a_run_comes_back_from_its_file(tmp_path):
    bench_result.save(RESULT, tmp_path / "run.json")
    assert bench_result.load(tmp_path / "run.json") == RESULT


def test_a_ratio_is_lost_when_it_fell_by_more_than_the_percent_asked():
    now = RESULT.rows[0]
    for then, percent, lost in ((4.0, 0, False), (5.0, 15, True), (5.0, 25, False), (3.0, 0, False)):
        earlier = replace(RESULT, rows=[replace(now, figures={"ratio": then})])
        assert bench_table.lost(now, earlier, percent) is lost
    assert not bench_table.lost(now, replace(RESULT, rows=[]), 0)
    assert not bench_table.lost(now, None, 0)


def test_a_file_that_is_no_run_is_refused(tmp_path):
    for text in ("[]", '{"fasttrain_bench": 99}', '{"fasttrain_bench": 1, "rows": []}'):
        (tmp_path / "x.json").write_text(text)
        with pytest.raises(FormatError, match="file of `fasttrain bench --json`"):
            bench_result.load(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("cpus", "threads", "before", "after", "high"),
    [
        (2, 1, 0.3, 1.2, None),  # itself is the 1.0 of what came after
        (2, 1, 1.5, 1.0, 1.5),
        (2, 1, 0.0, 3.0, 2.0),
        (2, 2, 0.2, 2.0, None),
        (2, 2, 0.5, 2.0, 0.5),  # two threads leave nothing free
        (64, 1, 20.0, 20.0, None),
        (64, 1, 40.0, 40.0, 40.0),
    ],
)
def test_load_is_high_when_other_work_takes_what_the_run_needs(cpus, threads, before, after, high):
    machine = {"num_cpus": cpus, "load_before": before, "load_after": after}
    assert bench_machine.others_load(machine, threads) == high


def test_a_high_load_another_cpu_and_another_clock_are_said(capsys):
    busy = replace(RESULT, machine={**RESULT.machine, "num_cpus": 2, "load_before": 7.0, "load_after": 1.0})
    other = replace(busy, machine={**busy.machine, "cpu": "Z80"}, settings={**busy.settings, "clock": "wall time"})
    Console(width=300).print(bench_table.show(busy, other, loss_percent=15))
    said = capsys.readouterr().out
    assert "Load of other work was 7.0 on 2 CPUs, which is high: ratios are good to 10 or 20 %" in said
    assert "The earlier run was on another CPU, Z80" in said
    assert "The earlier run was timed otherwise: wall time, not CPU time" in said
    assert "in the earlier run: its ratios are good to 10 or 20 %" in said
    assert "None of its ratios" not in said
    Console(width=300).print(bench_table.show(busy, replace(other, rows=[]), loss_percent=15))
    assert "None of its ratios is of a gate that was measured now." in capsys.readouterr().out


def test_a_narrow_terminal_has_no_rates_and_brackets_are_text(capsys):
    rows = [replace(row, what=f"{row.what} [bold]") for row in RESULT.rows]
    Console(width=100).print(bench_table.show(replace(RESULT, rows=rows), None, loss_percent=15, columns=100))
    said = capsys.readouterr().out
    assert "what rival ours rival's ratio gate verdict" in [" ".join(line.split()) for line in said.splitlines()]
    assert "[bold]" in said


@pytest.mark.parametrize(
    ("figures", "cells"),
    [
        ({"ours_ms": 0.05, "rival_ms": 2.0, "work": 4.0, "ratio": 160.0, "gate": 50}, ["50.0 us", "8.00 ms", ""]),
        ({"ours_ms": 1500.0, "rival_ms": 3e5, "GB_per_s": 3.0}, ["1.50 s", "300 s", "3.00 GB/s"]),
        ({"median_ms": 9.0, "MB_per_s": 224.0, "rival_MB_per_s": 160.0}, ["224 MB/s", "160 MB/s", ""]),
        (
            {"median_ms": 9.0, "ours_cpu_s": 1.0, "rival_cpu_s": 6.03, "ours_peak_mb": 1},
            ["1.00 s cpu", "6.03 s cpu", ""],
        ),
        ({"median_ms": 9.0, "extra_MiB": 59.6, "at_most": 64}, ["59.6 MiB extra", "", ""]),
        ({"median_ms": 9.0, "M_elements_per_s": 12.0}, ["9.00 ms", "", "12.0 M elements/s"]),
        ({}, ["", "", ""]),
    ],
)
def test_figures_in_words(figures, cells):
    row = bench_result.Row(id="x", what="x", outcome="passed", figures=figures)
    assert [*bench_table._pair(row), bench_table._rate(row)] == cells


def test_a_limit_that_is_no_ratio_fails_as_a_gate():
    row = bench_result.Row(id="x", what="x", outcome="failed", figures={"extra_MiB": 70.0, "at_most": 64.0})
    assert (row.verdict, bench_table._gate(row)) == ("FAILED", "<= 64")
