"""What PyTorch is needed for: making the mini 3D-UNet again, and a network to hold the graph against."""

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
from coldmark.workloads.unet3d.architecture import Shape
from coldmark.workloads.unet3d.mini import MiniFile

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "training" / "unet3d"


def test_the_training_script_makes_a_model_and_its_facts(tmp_path: Path) -> None:
    flags = {"--out": tmp_path, "--cases": 6, "--steps": 2, "--batch": 2, "--heldout": 4}
    argv = [str(v) for pair in flags.items() for v in pair]
    done = subprocess.run(
        [sys.executable, str(FOLDER / "train.py"), *argv],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    facts = read_toml(tmp_path / "mini.toml", MiniFile)
    shipped = read_toml(ROOT / "src/coldmark/workloads/unet3d/mini.toml", MiniFile)
    assert facts.sha256 == inspect(tmp_path / "mini.onnx").sha256
    assert (facts.parameters, facts.macs_per_window) == (shipped.parameters, shipped.macs_per_window)
    assert facts.heldout.heldout_sha256 == shipped.heldout.heldout_sha256
    assert facts.heldout.reference_dice < 0.3  # two steps teach next to nothing


def test_the_graph_computes_what_pytorchs_network_computes(
    tmp_path: Path, training: Callable[[str], Any]
) -> None:
    import torch

    net = training("unet3d")

    shape = Shape(filters=(4, 6), window=16)
    model = net.MiniUNet(shape, torch.Generator().manual_seed(3)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)))
    path = tmp_path / "m.onnx"
    net.export(model, shape, path)
    x = np.random.default_rng(0).standard_normal((2, 1, 16, 16, 16), dtype=np.float32)
    (found,) = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(
        ["output"], {"input": x}
    )
    with torch.inference_mode():
        expected = model(torch.from_numpy(x)).numpy()
    assert np.abs(expected).max() > 0.1
    assert np.allclose(found, expected, atol=1e-4 * float(np.abs(expected).max()))
