"""What PyTorch is needed for: the transducer loss, the converter, and making mini again."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from coldmark.core.codec import read_toml
from coldmark.core.errors import DataError
from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.rnnt import architecture
from coldmark.workloads.rnnt.architecture import Shape
from coldmark.workloads.rnnt.mini import MiniFile

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[1]


@pytest.fixture
def net(training: Callable[[str], Any]) -> Any:
    return training("rnnt")


def test_the_transducer_loss_is_the_sum_over_all_alignments(net: Any) -> None:
    import torch

    torch.manual_seed(0)
    frames, places = torch.tensor([5, 3, 1, 4]), torch.tensor([3, 4, 2, 0])
    logits, labels = 2 * torch.randn(4, 5, 5, 7), torch.randint(0, 6, (4, 4))
    found = net.transducer_loss(logits, labels, frames, places)
    for i, (t, u) in enumerate(zip(frames.tolist(), places.tolist(), strict=True)):
        logp = torch.log_softmax(logits[i], -1).double().numpy()
        total = 0.0
        for said in itertools.combinations(
            range(t + u - 1), u
        ):  # the moves that say a label; the last is blank
            place, done, path = 0, 0, 0.0
            for move in range(t + u - 1):
                path += logp[place, done, int(labels[i, done]) if move in said else -1]
                place, done = (place, done + 1) if move in said else (place + 1, done)
            total += np.exp(path + logp[place, done, -1])
        assert float(found[i]) == pytest.approx(-np.log(total), rel=1e-5)


def test_the_graphs_compute_what_the_trained_network_computes(net: Any) -> None:
    import torch

    torch.manual_seed(1)
    shape = Shape(features=12, encoder=8, prediction=6, joint=10)
    model = net.Rnnt(shape, 0.0).eval()
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    assert {name: array.shape for name, array in weights.items()} == architecture.parameter_shapes(shape)
    features, lengths = torch.randn(10, 3, 12), torch.tensor([10, 7, 5])
    labels = torch.randint(0, 28, (3, 4))
    with torch.inference_mode():
        expected = model(features, lengths, labels).numpy()
    graphs = architecture.build_encoder(weights, shape), architecture.build_decoder(weights, shape)
    encoder, decoder = (ort.InferenceSession(graph.SerializeToString()) for graph in graphs)
    (heard,) = encoder.run(None, {"features": features.numpy(), "lengths": lengths.numpy()})
    state, symbol = np.zeros((4, 3, 6), np.float32), np.full(3, 28)
    for place in range(5):
        logits, state = decoder.run(None, {"symbol": symbol, "state": state, "heard": heard})
        assert np.allclose(logits, expected[:, :, place], atol=1e-5)
        symbol = labels[:, min(place, 3)].numpy()


def test_a_checkpoint_of_the_official_form_is_converted_weights_only(tmp_path: Path) -> None:
    import torch

    from coldmark.workloads.rnnt.convert import convert

    shape = Shape(features=12, encoder=8, prediction=6, joint=10)
    weights = architecture.seeded(shape)
    state = {name.replace("joint.net", "joint_net"): torch.from_numpy(a) for name, a in weights.items()}
    tables = {"audio_preprocessor.featurizer.fb": torch.zeros(1, 4, 5)}
    torch.save({"state_dict": state | tables, "epoch": 100}, tmp_path / "rnnt.pt")
    convert(tmp_path / "rnnt.pt", tmp_path / "out", shape)
    assert (tmp_path / "out" / "encoder.onnx").read_bytes() == architecture.build_encoder(
        weights, shape
    ).SerializeToString()
    inspect(tmp_path / "out" / "decoder.onnx")
    with pytest.raises(DataError, match="there already"):
        convert(tmp_path / "rnnt.pt", tmp_path / "out", shape)
    torch.save({"state_dict": dict(list(state.items())[1:])}, tmp_path / "less.pt")
    with pytest.raises(DataError, match="is missing"):
        convert(tmp_path / "less.pt", tmp_path / "other", shape)


class _Bad:
    def __reduce__(self) -> Any:
        return print, ("executed",)


def test_a_checkpoint_that_would_execute_something_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from coldmark.workloads.rnnt.convert import convert

    torch.save({"state_dict": _Bad()}, tmp_path / "rnnt.pt")
    with pytest.raises(DataError, match="weights-only"):
        convert(tmp_path / "rnnt.pt", tmp_path / "out")
    assert "executed" not in capsys.readouterr().out


def test_the_training_script_makes_a_model_and_its_facts(tmp_path: Path) -> None:
    script = ROOT / "training" / "rnnt" / "train.py"
    few = ("--utterances", "64", "--letter-steps", "2", "--steps", "2", "--fresh-utterances", "32")
    done = subprocess.run(
        [sys.executable, str(script), "--out", str(tmp_path), *few, "--fresh-steps", "1"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    facts = read_toml(tmp_path / "mini.toml", MiniFile)
    shipped = read_toml(ROOT / "src/coldmark/workloads/rnnt/mini.toml", MiniFile)
    assert facts.encoder_sha256 == inspect(tmp_path / "mini-encoder.onnx").sha256
    assert (facts.parameters, facts.macs_per_sample) == (shipped.parameters, shipped.macs_per_sample)
    assert facts.heldout.heldout_sha256 == shipped.heldout.heldout_sha256
    assert facts.heldout.reference_accuracy_percent < 20  # five steps teach nothing
