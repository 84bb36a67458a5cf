"""Write the trained DLRM as ONNX, measure it in FP32 on the evaluation log, and write the facts."""

from __future__ import annotations

import argparse
import hashlib
import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray

from coldmark.workloads.dlrm import clicks
from coldmark.workloads.dlrm.architecture import Config
from coldmark.workloads.dlrm.auc import auc
from coldmark.workloads.dlrm.graph import build, write
from coldmark.workloads.dlrm.shape import log_counts
from coldmark.workloads.onnx_graph import OPSET

SAMPLES = 4096


def digest(pairs: list[clicks.Pairs]) -> str:
    """The checksum that `heldout.HeldoutLog` forms: counts, categories, clicks."""
    found = hashlib.sha256()
    found.update(np.concatenate([p.dense for p in pairs]).astype(np.uint16).data)
    found.update(np.concatenate([p.category for p in pairs]).astype(np.uint16).data)
    found.update((np.concatenate([p.click for p in pairs]) > 0).data)
    return found.hexdigest()


def probabilities(path: Path, pairs: list[clicks.Pairs]) -> NDArray[np.float32]:
    """What the ONNX file says in FP32, sample by sample."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    parts = [session.run(None, {"dense": log_counts(p.dense), "category": p.category})[0] for p in pairs]
    return np.concatenate(parts)[:, 0]


def write_facts(args: argparse.Namespace, config: Config, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Write `mini.onnx` and `mini.toml` into `args.out`."""
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "mini.onnx"
    write(build(config, weights.__getitem__, whole=True), path)
    pairs = clicks.draw_samples(clicks.EVALUATION_SEED, SAMPLES)
    clicked = np.concatenate([p.click for p in pairs]) > 0
    reached = auc(probabilities(path, pairs), clicked)
    best = auc(np.concatenate([p.log_odds for p in pairs]), clicked)
    tools = f"torch {torch.__version__}, onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}"
    text = f"""\
# Facts about mini.onnx, written by training/dlrm/train.py; do not edit by hand.
sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"  # of mini.onnx
rows = {list(config.rows)}  # of each table
bottom = {list(config.bottom)}  # widths; the last is the dimension of the tables
top = {list(config.top)}  # widths
parameters = {config.parameters}
macs_per_pair = {config.macs_per_pair}  # multiply-accumulates of layers and needed inner products

[training]
training_seed = {clicks.TRAINING_SEED}
training_pairs = {args.chunks * args.chunk}
epochs = {args.epochs}  # passes over the training pairs
batch = {args.batch}  # pairs per step
peak_rate = {args.rate}  # learning rate of the layers at the top of the schedule
table_rate = {args.table_rate}  # of the tables
network_seed = {args.seed}  # weights at the start and order
threads = {args.threads}  # of PyTorch; another count gives slightly other weights
opset = {OPSET}
made_with = "Python {platform.python_version()}, {tools}, numpy {np.__version__}"

[heldout]
heldout_seed = {clicks.EVALUATION_SEED}  # samples 0 to heldout_samples - 1 of this seed
heldout_samples = {SAMPLES}
heldout_pairs = {len(clicked)}
heldout_sha256 = "{digest(pairs)}"  # over counts, categories and clicks in order
reference_auc_percent = {100 * reached.value!r}  # FP32 by onnxruntime on a CPU
reference_interval_percent = [{100 * reached.low!r}, {100 * reached.high!r}]  # 95 %
best_possible_auc_percent = {100 * best.value!r}  # of the true click probabilities
"""
    path.with_suffix(".toml").write_text(text, encoding="utf-8")
    print(text)
