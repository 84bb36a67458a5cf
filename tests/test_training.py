"""What PyTorch is needed for: making mini again, and an independent ResNet-50 to hold `full` against."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from coldmark.core.codec import read_toml
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.resnet50 import architecture
from coldmark.workloads.resnet50.mini import MiniFile

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[1]


def test_the_training_script_makes_a_model_and_its_facts(tmp_path: Path) -> None:
    script = ROOT / "training" / "resnet50_mini.py"
    done = subprocess.run(
        [
            sys.executable,
            str(script),
            "--out",
            str(tmp_path),
            "--cache",
            str(tmp_path / "cache"),
            "--images",
            "256",
            "--epochs",
            "1",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    facts = read_toml(tmp_path / "mini.toml", MiniFile)
    shipped = read_toml(ROOT / "src/coldmark/workloads/resnet50/mini.toml", MiniFile)
    assert facts.sha256 == inspect(tmp_path / "mini.onnx").sha256
    assert (facts.parameters, facts.macs_per_sample) == (shipped.parameters, shipped.macs_per_sample)
    assert facts.heldout.heldout_sha256 == shipped.heldout.heldout_sha256
    assert facts.heldout.reference_top1_percent < 40  # one epoch of 256 images teaches next to nothing


def test_full_computes_what_an_independent_resnet50_computes(tmp_path: Path) -> None:
    import torch
    from torch.nn import functional as f

    model = architecture.build()
    weights = {w.name: torch.from_numpy(numpy_helper.to_array(w).copy()) for w in model.graph.initializer}

    def conv(x: Any, name: str, stride: int) -> Any:
        kernel = weights[f"{name}.weight"]
        x = f.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        parts = [weights[f"{name}.{part}"] for part in ("mean", "variance", "scale", "shift")]
        return f.batch_norm(x, *parts, training=False, eps=1e-5)

    def forward(x: Any) -> Any:
        x = f.max_pool2d(f.relu(conv(x, "stem", 2)), 3, 2, 1)
        for stage, blocks in enumerate((3, 4, 6, 3), 1):
            for block in range(blocks):
                name, stride = f"stage{stage}.block{block}", 2 if stage > 1 and block == 0 else 1
                y = f.relu(conv(x, f"{name}.1", 1))
                y = conv(f.relu(conv(y, f"{name}.2", stride)), f"{name}.3", 1)
                x = f.relu(y + (conv(x, f"{name}.skip", stride) if block == 0 else x))
        return f.linear(x.mean((2, 3)), weights["classifier.weight"], weights["classifier.bias"])

    path = tmp_path / "full.onnx"
    architecture.write(path)
    image = np.random.default_rng(0).uniform(-124, 132, (2, 3, 224, 224)).astype(np.float32)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {"image": image})
    with torch.inference_mode():
        expected = forward(torch.from_numpy(image)).numpy()
    assert np.abs(expected).max() > 1e-2
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(np.abs(expected).max()))
