"""What PyTorch is needed for: making BERT's mini again, and its network being the one that is written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coldmark.core.codec import read_toml
from coldmark.workloads.bert.mini import MiniFile, mini_file
from coldmark.workloads.onnx_file import inspect

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[1]


def test_the_training_script_makes_a_model_and_its_facts(tmp_path: Path) -> None:
    small = ["--passages", "200", "--steps", "20", "--short-steps", "10", "--warm-up", "5"]
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "training" / "bert" / "train.py"),
            "--out",
            str(tmp_path),
            *small,
            "--heldout-passages",
            "20",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    facts = read_toml(tmp_path / "mini.toml", MiniFile)
    assert facts.sha256 == inspect(tmp_path / "mini.onnx").sha256
    assert facts.sizes == mini_file().sizes
    assert facts.heldout.reference_f1_percent < 40  # a few steps teach next to nothing


def test_the_written_model_computes_what_the_network_computes(
    tmp_path: Path, training: Callable[[str], Any]
) -> None:
    import numpy as np
    import onnxruntime as ort
    import torch

    from coldmark.workloads.bert.architecture import INPUTS, OUTPUTS, build

    config = mini_file().sizes.config
    net = training("bert")
    model = net.Bert(config, 3)
    path = tmp_path / "m.onnx"
    path.write_bytes(build(config, net.weights(model)).SerializeToString())
    rng = np.random.default_rng(0)
    mask = (np.arange(30) < np.array([[30], [17]])).astype(np.int64)
    inputs = (rng.integers(0, config.vocabulary, mask.shape), mask, mask * (np.arange(30) > 6))
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(list(OUTPUTS), dict(zip(INPUTS, inputs, strict=True)))
    with torch.no_grad():
        expected = model(*map(torch.from_numpy, inputs))
    for one, other in zip(found, expected, strict=False):
        assert np.allclose(one, other.numpy(), atol=1e-5)
