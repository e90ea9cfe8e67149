"""The throughput receipt adds up."""

import json
import subprocess
import sys

import pytest

from clinaug_fast.preprocess.clips import Seconds
from clinaug_fast.preprocess.receipt import STAGES, peak_memory_bytes, receipt_of, show_receipt

SPENT = Seconds(decode=6.0, resample=1.0, mel=2.0, write=1.0, audio=7200.0)


def test_shares_add_up_and_the_largest_is_named() -> None:
    about = receipt_of(6.0, SPENT, threads=2)
    assert about["bound_by"] == "decode"
    assert "decode" in about["advice"]
    assert about["stages"]["decode"] == {
        "seconds": 6.0,
        "share": 0.6,
        "audio_hours_per_second": pytest.approx(1 / 3, abs=1e-4),
    }
    assert sum(part["share"] for part in about["stages"].values()) == pytest.approx(1.0)
    assert about["audio_hours"] == 2.0
    assert about["peak_memory_mib"] > 10
    json.dumps(about, allow_nan=False)


def test_hours_a_second_are_of_the_wall_and_not_of_the_threads() -> None:
    about = receipt_of(5.0, SPENT, threads=2)  # ten seconds on two threads
    assert (about["wall_seconds"], about["audio_hours_per_second"]) == (5.0, 0.4)


@pytest.mark.parametrize(
    ("wall", "threads", "bound_by"),
    [(30.0, 2, "other"), (16.5, 2, "other"), (15.5, 2, "decode"), (30.0, None, "decode")],
)
def test_a_run_whose_stages_do_not_explain_its_time_is_bound_by_something_else(
    wall: float, threads: int | None, bound_by: str
) -> None:
    about = receipt_of(wall, SPENT, threads)  # ten seconds, six of decoding
    assert about["bound_by"] == bound_by
    assert about["advice"].startswith(f"bound by {bound_by}: ")
    assert about["advice"] in show_receipt(about)


def test_a_run_that_did_nothing_has_a_receipt() -> None:
    about = receipt_of(1.0, Seconds(), threads=1)
    assert about["bound_by"] is None
    assert "nothing" in show_receipt(about)


def test_text_names_each_stage() -> None:
    text = show_receipt(receipt_of(6.0, SPENT, threads=2))
    assert all(stage in text for stage in STAGES)
    assert "60.0%" in text


def test_peak_memory_is_not_that_of_the_process_which_started_this_one() -> None:
    code = "from clinaug_fast.preprocess.receipt import peak_memory_bytes; print(peak_memory_bytes())"
    held = bytearray(256 << 20)
    held[::4096] = b"x" * len(held[::4096])
    told = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True).stdout
    assert 4 << 20 < int(told) < 200 << 20


def test_peak_memory_never_falls() -> None:
    before = peak_memory_bytes()
    held = bytearray(64 << 20)
    held[::4096] = b"x" * len(held[::4096])
    grown = peak_memory_bytes()
    del held
    assert grown >= before
    assert peak_memory_bytes() >= grown > 64 << 20


def test_text_tells_how_many_times_faster_than_real_time_a_run_was() -> None:
    text = show_receipt(receipt_of(7.0, SPENT, threads=2))
    assert text.startswith("2.00 h of audio in 7.0 s on 2 threads: 1,029 x real time, peak memory ")
