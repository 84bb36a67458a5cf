"""What `mini.toml` says: FP32 DICE by coldmark's own OpenVINO path, and how the file was made."""

from __future__ import annotations

import argparse
import hashlib
import platform
import re
import threading
from pathlib import Path

import numpy as np
import onnx
import openvino
import torch

from coldmark.backends.build import BuildRequest
from coldmark.backends.openvino import BACKEND, OpenVinoOptions
from coldmark.core.nouns import Precision, Scenario
from coldmark.core.sut import Answers, Ids
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.onnx_graph import OPSET
from coldmark.workloads.task import Score
from coldmark.workloads.unet3d import architecture, sets
from coldmark.workloads.unet3d.architecture import Shape
from coldmark.workloads.unet3d.dice import mean_dice
from coldmark.workloads.unet3d.mini import HASHED
from coldmark.workloads.unet3d.network import pipeline, window_model


def answers_of(path: Path, seed: int, count: int, precision: Precision) -> list[bytes]:
    """Answers to the cases 0 to count - 1 of a seed, by the backend that `coldmark run` takes by default."""
    library = sets.library(seed, count)
    indices = np.arange(count)
    library.load(indices)
    sut = BACKEND.build(
        BuildRequest(
            model=pipeline(window_model(path, inspect(path)), library),
            library=library,
            scenario=Scenario.OFFLINE,
            precision=precision,
            options=OpenVinoOptions(),
        )
    )
    found: dict[int, bytes] = {}
    over, problems = threading.Event(), list[BaseException]()

    def complete(ids: Ids, answers: Answers) -> None:
        found.update((int(i), bytes(a)) for i, a in zip(ids, answers, strict=True))
        if len(found) == count:
            over.set()

    def fail(error: BaseException) -> None:
        problems.append(error)
        over.set()

    sut.start(complete, fail)
    sut.issue(indices.astype(np.uint64), indices)
    sut.flush()
    over.wait()
    sut.close()
    if problems:
        raise problems[0]
    return [found[i] for i in range(count)]


def measure(path: Path, seed: int, count: int) -> Score:
    """DICE in FP32 of an ONNX file on the cases 0 to count - 1 of a seed."""
    answers = answers_of(path, seed, count, Precision.FP32)
    return mean_dice(count, lambda index: sets.labels(seed, index))(np.arange(count), answers)


def write_facts(args: argparse.Namespace, shape: Shape, path: Path, score: Score) -> None:
    """Write `mini.toml` beside the ONNX file."""
    seed = sets.SEEDS["heldout"]
    _, kidney, tumour = (float(v) for v in re.findall(r"= ([0-9.]+)", score.line))
    tools = f"torch {torch.__version__}, onnx {onnx.__version__}, numpy {np.__version__}"
    engine = f"OpenVINO {openvino.__version__.split('-')[0]}"
    text = f"""\
# Facts about mini.onnx, written by training/unet3d/train.py; do not edit by hand.
sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"  # of mini.onnx
window = {shape.window}  # voxels, side of the cubic input
parameters = {architecture.parameters(shape)}  # weights, biases, scales and shifts
macs_per_window = {architecture.macs(shape)}  # multiply-accumulates of the convolutions

[training]
training_seed = {sets.SEEDS["training"]}  # cases 0 to training_cases - 1 of this seed
training_cases = {args.cases}
steps = {args.steps}
batch = {args.batch}  # windows per step
peak_rate = {args.rate}  # learning rate at the top of the one-cycle schedule
filters = {list(shape.filters)}  # channels of each level
network_seed = {args.seed}  # weights at the start, order and augmentation
threads = {args.threads}  # of PyTorch; another count gives slightly other weights
opset = {OPSET}
made_with = "Python {platform.python_version()}, {tools}"

[heldout]
heldout_seed = {seed}  # cases 0 to heldout_count - 1 of this seed
heldout_count = {args.heldout}  # cases
heldout_sha256 = "{sets.digest(seed, HASHED)}"  # over the first {HASHED} cases
reference_dice = {score.value!r}  # mean of organ and tumour, FP32 by {engine} on a CPU
reference_kidney = {kidney}  # the organ without the tumour
reference_tumour = {tumour}
"""
    path.with_suffix(".toml").write_text(text, encoding="utf-8")
    print(text)
