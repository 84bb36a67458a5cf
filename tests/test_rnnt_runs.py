"""RNN-T through the bench: the shipped model, its gate, and real runs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from coldmark.core.sut import Compute, Pipeline
from coldmark.workloads.cache import cache_dir
from coldmark.workloads.rnnt.mini import (
    CALIBRATION_SEED,
    FRONT_END,
    HELDOUT_SEED,
    TRAINING_SEED,
    VALIDATION_SEED,
    calibration,
    heldout,
    mini_file,
    shipped_graphs,
)
from coldmark.workloads.rnnt.synthesis import draw
from coldmark.workloads.rnnt.task import Options
from coldmark.workloads.rnnt.wer import transcript
from coldmark.workloads.task import Task, find_workload


def open_mini() -> Task:
    return find_workload("rnnt").open("mini", Options(), cache=cache_dir())


def lane(task: Task, batch: int) -> Compute:
    """The shipped pipeline on ONNX Runtime."""
    assert isinstance(task.model, Pipeline)
    compiled: dict[str, Any] = {}
    for network in task.model.networks(batch):
        session = ort.InferenceSession(str(network.path), providers=["CPUExecutionProvider"])

        def call(*inputs: Any, session: Any = session, names: tuple[str, ...] = network.inputs) -> Any:
            return session.run(None, dict(zip(names, inputs, strict=True)))

        compiled[network.name] = call
    return task.model.open(compiled, batch)


def test_mini_is_small_and_far_from_both_ends() -> None:
    facts = mini_file()
    held = facts.heldout
    graphs = shipped_graphs()
    assert graphs.encoder.stat().st_size + graphs.decoder.stat().st_size < 3_000_000
    assert held.reference_accuracy_percent == pytest.approx(100 * (1 - held.reference_errors / held.words))
    assert 50 < held.reference_accuracy_percent < 97
    task = open_mini()
    assert task.gate is not None
    assert task.gate.target == pytest.approx(0.99 * held.reference_accuracy_percent)
    assert task.warnings == ()
    assert int(task.facts["macs_per_sample"]) == facts.macs_per_sample
    seeds = {TRAINING_SEED, VALIDATION_SEED, HELDOUT_SEED, CALIBRATION_SEED}
    assert len(seeds) == 4
    assert (facts.training.training_seed, held.heldout_seed) == (TRAINING_SEED, HELDOUT_SEED)


def test_the_heldout_set_is_the_one_the_reference_was_measured_on() -> None:
    facts = mini_file()
    said = heldout(facts, cache_dir())
    assert said.sha256 == facts.heldout.heldout_sha256
    assert sum(len(text.split()) for text in said.texts) == facts.heldout.words
    for index in (0, 17, facts.heldout.heldout_count - 1):
        waveform, text = draw(HELDOUT_SEED, index)
        assert np.array_equal(said.waveform(index), waveform)
        assert (said.texts[index], said.samples[index]) == (text, len(waveform))


def test_calibration_utterances_are_a_set_of_their_own(tmp_path: Path) -> None:
    said = calibration(tmp_path, 3)
    assert len(said.texts) == 3
    assert np.array_equal(said.waveform(2), draw(CALIBRATION_SEED, 2)[0])


def test_mini_hears_the_same_alone_and_in_a_batch_about_as_well_as_its_reference() -> None:
    task = open_mini()
    indices = np.arange(96)
    task.library.load(indices)
    alone, batched = lane(task, 1), lane(task, 32)
    together = [bytes(np.asarray(a)) for part in np.split(indices, 3) for a in batched(part)]
    assert [bytes(np.asarray(alone(indices[i : i + 1])[0])) for i in range(12)] == together[:12]
    assert task.scorer is not None
    score = task.scorer(indices, together)
    assert score.low is not None
    assert score.high is not None
    assert score.low - 5 < mini_file().heldout.reference_accuracy_percent < score.high + 5
    assert any(transcript(text) for text in together)


def test_sizes_are_known_without_loading() -> None:
    task = open_mini()
    assert isinstance(task.model, Pipeline)
    assert task.model.size is not None
    sizes = task.model.size(np.arange(task.library.count))
    assert sizes.min() >= FRONT_END.shortest
    encoder = task.model.networks(2)[0]
    longest = int(FRONT_END.frames(sizes).max())
    assert max(profile[0][0] for profile in encoder.profiles) >= longest


SMALL = ("--length", "smoke", "--set", "test.min_duration_ms=1", "--set", "harness.bare_s=0.1", "--json")


@pytest.mark.loadgen
def test_mini_meets_its_gate_through_the_bench(
    coldmark: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    flags = ("--scenario", "Offline", "--set", "test.min_query_count=64")
    done = coldmark("run", "rnnt", *flags, *SMALL, timeout=280)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["accuracy"]["passed"], record["accuracy"]
    assert record["accuracy"]["samples"] == mini_file().heldout.heldout_count
    reference = mini_file().heldout.reference_accuracy_percent
    assert record["accuracy"]["value"] == pytest.approx(reference, abs=0.2)


@pytest.mark.loadgen
def test_the_other_backend_runs_it_too(coldmark: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    flags = ("--scenario", "SingleStream", "--backend", "onnxruntime", "--mode", "performance")
    done = coldmark("run", "rnnt", *flags, "--set", "test.min_query_count=70", *SMALL)
    record = json.loads(done.stdout)
    assert record["metric"]["value"] > 0, done.stderr
