"""What PyTorch is needed for: making retinanet's mini again, and a network to hold the builder against."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from coldmark.core.codec import read_toml
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.retinanet.anchors import PER_CELL
from coldmark.workloads.retinanet.architecture import LEVELS, MINI, build, output_names
from coldmark.workloads.retinanet.mini import MiniFile

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "training" / "retinanet"


def test_the_training_script_makes_a_model_and_its_facts(tmp_path: Path) -> None:
    first = ("--hard-scenes", "128", "--hard-epochs", "1")
    small = ("--scenes", "64", "--epochs", "1", "--heldout", "60", "--validation", "40")
    done = subprocess.run(
        [
            sys.executable,
            str(FOLDER / "train.py"),
            *("--out", str(tmp_path), "--cache", str(tmp_path / "cache")),
            *first,
            *small,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    facts = read_toml(tmp_path / "mini.toml", MiniFile)
    shipped = read_toml(ROOT / "src/coldmark/workloads/retinanet/mini.toml", MiniFile)
    assert facts.sha256 == inspect(tmp_path / "mini.onnx").sha256
    assert (facts.parameters, facts.macs_per_sample) == (shipped.parameters, shipped.macs_per_sample)
    assert facts.heldout.heldout_count == 60
    assert facts.heldout.reference_map_percent < 20  # four steps teach next to nothing


def test_the_onnx_builder_computes_what_the_trained_network_computes(
    training: Callable[[str], Any],
) -> None:
    import torch

    model = training("retinanet").RetinaNet(MINI, torch.Generator().manual_seed(3))
    images = torch.randint(0, 256, (4, 128, 128, 3), dtype=torch.uint8)
    model.train()
    with torch.no_grad():
        model(images)  # moves the normalisations away from their start
        model.fold()
        logits, deltas = (part.numpy() for part in model(images))
    session = ort.InferenceSession(
        build(MINI, model.weights()).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    pixels = images.numpy().transpose(0, 3, 1, 2) / np.float32(255)
    outputs = session.run(list(output_names()), {"image": pixels})
    for part, expected, values in ((outputs[:5], logits, MINI.classes), (outputs[5:], deltas, 4)):
        assert len(part) == len(LEVELS)
        joined = [
            o.reshape(4, PER_CELL, values, o.shape[2], o.shape[3]).transpose(0, 3, 4, 1, 2) for o in part
        ]
        found = np.concatenate([o.reshape(4, -1, values) for o in joined], axis=1)
        assert np.allclose(found, expected, atol=1e-3 * float(np.abs(expected).max()))
