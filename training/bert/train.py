"""Make BERT's `mini` again: draw passages, train, export to ONNX, measure FP32 F1, write the facts.

    PYTHONPATH=src python training/bert/train.py

The defaults are those of the shipped file. Drawn passages are the same everywhere; the trained weights
are the same only on the same CPU type, thread count and PyTorch, because sums are then formed in one order.
Needs coldmark with its `training` extra.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import time
from pathlib import Path

import data
import numpy as np
import onnx
import openvino as ov
import torch
from net import Bert, Hints, weights
from torch import Tensor, nn

from coldmark.workloads.bert import answers, mini
from coldmark.workloads.bert.architecture import Config, build, parameters
from coldmark.workloads.bert.passages import vocabulary
from coldmark.workloads.bert.samples import FeatureLibrary, Packer
from coldmark.workloads.bert.scoring import scorer

TRAINING_SEED = 530_001
VALIDATION_SEED = 530_002  # for choices made during development, so that held-out passages stay unseen
HELDOUT_SEED = 530_003
VALIDATION_PASSAGES = 250
SEEDS = {TRAINING_SEED, VALIDATION_SEED, HELDOUT_SEED, mini.CALIBRATION_SEED}
SHORT = 56  # pieces of the sequences that training begins with
BLOCKED = -1e4


def spans(model: nn.Module, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Scores of beginning and end with padding out of the question, and the states of all layers."""
    ids, mask, segments = batch[:3]
    closed = (1 - mask) * BLOCKED
    start, end, states = model(ids, mask, segments)
    return start + closed, end + closed, states


def exact(model: nn.Module, labelled: data.Labelled) -> float:
    """Percent of windows whose beginning and end are both right."""
    model.eval()
    right = 0
    with torch.no_grad():
        for at in range(0, len(labelled.features), 100):
            batch = data.gather(labelled, np.arange(at, min(at + 100, len(labelled.features))))
            start, end, _ = spans(model, batch)
            right += int(((start.argmax(1) == batch[3]) & (end.argmax(1) == batch[4])).sum())
    model.train()
    return 100.0 * right / len(labelled.features)


def optimiser(model: nn.Module, rate: float) -> torch.optim.AdamW:
    """AdamW; normalisations and biases do not decay."""
    decays = [p for p in model.parameters() if p.ndim > 1]
    stays = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decays, "weight_decay": 0.01}, {"params": stays, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)


def train(
    model: nn.Module, labelled: data.Labelled, validation: data.Labelled, a: argparse.Namespace
) -> None:
    """Train in place: warm-up, which post-LN needs, then a straight way down."""
    hinted = Hints(a.hidden, 3)
    optimizer = optimiser(nn.ModuleList([model, hinted]), a.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        a.rate,
        total_steps=a.steps + 1,
        pct_start=a.warm_up / a.steps,
        anneal_strategy="linear",
        cycle_momentum=False,
        div_factor=100,
    )
    loss_of = nn.CrossEntropyLoss()
    values = data.value_pieces()
    total = hint = 0.0
    order = data.batches(labelled, a.batch, a.steps, (a.short_steps, SHORT), np.random.default_rng(a.seed))
    for step, rows in enumerate(order, 1):
        batch = data.gather(labelled, rows)
        start, end, states = spans(model, batch)
        loss = (loss_of(start, batch[3]) + loss_of(end, batch[4])) / 2
        beside = hinted(states, data.hints(labelled, rows, values), batch[2] > 0)
        (loss + beside).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        total, hint = total + loss.item(), hint + beside.item()
        if step % 50 == 0:
            shown = f"loss {total / 50:.3f}, hints {hint / 50:.3f}, {time.process_time():.0f} s"
            print(f"step {step}/{a.steps}: {shown}", flush=True)
            total = hint = 0.0
        if step % 500 == 0:
            print(f"  exact windows of validation {exact(model, validation):.2f} %", flush=True)


def evaluate(path: Path, seed: int, passages: int) -> tuple[float, float, mini.QuestionSet]:
    """Exact match and F1 in percent of the ONNX file in FP32, scored as the bench scores it."""
    asked = mini.question_set(seed, passages)
    library = FeatureLibrary("held out", asked.features)
    rows = np.arange(len(asked.features))
    library.load(rows)
    packer = Packer(library)
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = ov.Core().compile_model(str(path), "CPU", config)
    found: list[bytes] = []
    for at in range(0, len(rows), 32):
        part = rows[at : at + 32]
        result = compiled(list(packer.pack(part, len(part), mini.FORM.sequence)))
        found += [answer.tobytes() for answer in answers.encode(result[0], result[1])]
    score = scorer(asked.examples, asked.features, vocabulary())(rows, found)
    return json.loads(score.line)["exact_match"], score.value, asked


def facts(a: argparse.Namespace, path: Path, config: Config, sequences: int) -> str:
    """The TOML text, with the score of the held-out questions."""
    seconds = time.process_time()
    exact_match, f1, asked = evaluate(path, HELDOUT_SEED, a.heldout_passages)
    tools = f"torch {torch.__version__}, onnx {onnx.__version__}, openvino {ov.__version__}"
    return f"""\
# Facts about mini.onnx, written by training/bert/train.py; do not edit by hand.
sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"  # of mini.onnx

[sizes]
layers = {config.layers}
hidden = {config.hidden}
heads = {config.heads}
intermediate = {config.intermediate}
vocabulary = {config.vocabulary}
positions = {config.positions}
parameters = {parameters(config)}

[training]
training_seed = {TRAINING_SEED}  # passages 0 to training_passages - 1 of this seed
training_passages = {a.passages}
training_sequences = {sequences}
steps = {a.steps}
short_steps = {a.short_steps}  # of these, the first, on sequences of at most {SHORT} pieces
batch = {a.batch}  # sequences per step
peak_rate = {a.rate}  # learning rate after the warm-up
network_seed = {a.seed}  # weights at the start and order
threads = {a.threads}  # of PyTorch; another count gives slightly other weights
processor_minutes = {seconds / 60:.1f}  # of one core, on a machine shared with others
made_with = "Python {platform.python_version()}, {tools}, numpy {np.__version__}"

[heldout]
heldout_seed = {HELDOUT_SEED}  # passages 0 to heldout_passages - 1 of this seed
heldout_passages = {a.heldout_passages}
questions = {len(asked.examples)}
sequences = {len(asked.features)}  # windows of passages that are too long count each
heldout_sha256 = "{asked.sha256}"  # over passages, questions and answers in order
reference_exact_percent = {exact_match!r}  # FP32 by OpenVINO on a CPU
reference_f1_percent = {f1!r}
"""


def arguments() -> argparse.Namespace:
    """Command line; the defaults make the shipped file."""
    parser = argparse.ArgumentParser(description="Make bert's mini.onnx and mini.toml again.")
    parser.add_argument("--out", type=Path, default=Path("src/coldmark/workloads/bert"), help="folder")
    parser.add_argument("--passages", type=int, default=12_000, help="of training, four questions each")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--short-steps", type=int, default=500, help="of these, on short sequences")
    parser.add_argument("--warm-up", type=int, default=100, help="steps to the peak rate")
    parser.add_argument("--batch", type=int, default=32, help="sequences per step")
    parser.add_argument("--rate", type=float, default=0.001, help="peak learning rate")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--seed", type=int, default=1, help="for weights and order")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    parser.add_argument("--heldout-passages", type=int, default=2500, help="of evaluation")
    parser.add_argument("--no-heldout", action="store_true", help="stop after validation (trial runs)")
    return parser.parse_args()


def main() -> None:
    a = arguments()
    if len(SEEDS) != 4:
        raise ValueError(f"two sets of passages share a seed: {SEEDS}")
    torch.set_num_threads(a.threads)
    config = Config(
        layers=a.layers,
        hidden=a.hidden,
        heads=a.hidden // 32,
        intermediate=4 * a.hidden,
        vocabulary=len(vocabulary()),
        positions=mini.FORM.sequence,
    )
    labelled = data.load(TRAINING_SEED, a.passages, mini.FORM)
    validation = data.load(VALIDATION_SEED, VALIDATION_PASSAGES, mini.FORM)
    print(f"{parameters(config)} parameters, {len(labelled.features)} sequences", flush=True)
    model = Bert(config, a.seed)
    train(model, labelled, validation, a)
    print(f"exact windows of validation {exact(model, validation):.2f} %")
    model_proto = build(config, weights(model))
    onnx.checker.check_model(model_proto, full_check=True)
    path = a.out / "mini.onnx"
    path.write_bytes(model_proto.SerializeToString())
    print("validation exact match, F1:", evaluate(path, VALIDATION_SEED, VALIDATION_PASSAGES)[:2])
    if a.no_heldout:
        return
    text = facts(a, path, config, len(labelled.features))
    path.with_suffix(".toml").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
