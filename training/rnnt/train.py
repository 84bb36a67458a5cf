"""Make `mini` again: speak the utterances, train, write the two ONNX graphs, measure FP32, write the facts.

    PYTHONPATH=src python training/rnnt/train.py

The defaults are those of the shipped files. Utterances are the same everywhere; trained weights are the same
only on the same CPU type, thread count and PyTorch, because sums are then formed in one order.
Needs torch, onnx, onnxruntime, numpy and scipy.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import scipy
import torch
from net import Rnnt, transducer_loss
from numpy.typing import NDArray
from torch import Tensor, nn

from coldmark.workloads.onnx_graph import OPSET
from coldmark.workloads.rnnt.alphabet import BLANK, to_labels, to_text
from coldmark.workloads.rnnt.architecture import (
    Shape,
    build_decoder,
    build_encoder,
    decoder_macs,
    encoder_macs,
    parameters,
)
from coldmark.workloads.rnnt.mini import (
    FRONT_END,
    HELDOUT_COUNT,
    HELDOUT_SEED,
    TRAINING_SEED,
    VALIDATION_SEED,
    library,
)
from coldmark.workloads.rnnt.pipeline import Graphs, open_graphs, pipeline
from coldmark.workloads.rnnt.spoken import SpokenSet
from coldmark.workloads.rnnt.synthesis import draw
from coldmark.workloads.rnnt.wer import transcript, word_errors

Utterance = tuple[NDArray[np.float32], NDArray[np.int64]]  # features [frames, width], labels [n]
Batch = tuple[
    Tensor, Tensor, Tensor, Tensor
]  # features [frames, batch, width], lengths, labels, their counts


def utterance(seed: int, index: int) -> Utterance:
    waveform, text = draw(seed, index)
    rows = np.empty((int(FRONT_END.frames(np.array(len(waveform)))), FRONT_END.width), np.float32)
    FRONT_END(waveform, rows)
    return rows, to_labels(text)


def spoken(first: int, count: int) -> list[Utterance]:
    """Training utterances from `first` on, features in half precision."""
    drawn = (utterance(TRAINING_SEED, index) for index in range(first, first + count))
    return [(rows.astype(np.float16), labels) for rows, labels in drawn]


def collate(chosen: list[Utterance]) -> Batch:
    lengths = torch.tensor([len(rows) for rows, _ in chosen])
    counts = torch.tensor([len(labels) for _, labels in chosen])
    features = torch.zeros(int(lengths.max() + 1) // 2 * 2, len(chosen), FRONT_END.width)
    labels = torch.zeros(len(chosen), int(counts.max()), dtype=torch.int64)
    for place, (rows, said) in enumerate(chosen):
        features[: len(rows), place] = torch.from_numpy(rows)
        labels[place, : len(said)] = torch.from_numpy(said)
    return features, lengths, labels, counts


def masked(rows: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The features with up to five mel bands taken away."""
    rows = rows.astype(np.float32)
    start, width = int(rng.integers(FRONT_END.mels)), int(rng.integers(6))
    rows.reshape(len(rows), 3, FRONT_END.mels)[:, :, start : start + width] = 0
    return rows


def batches(
    said: list[Utterance], size: int, steps: int, rng: np.random.Generator, *, short_first: bool
) -> Iterator[Batch]:
    """`steps` batches of utterances of like length, in the first pass from short to long where asked."""
    given, first = 0, short_first
    while given < steps:
        order = np.argsort([len(rows) + int(rng.integers(4)) for rows, _ in said], kind="stable")
        parts = np.split(order, range(size, len(order), size))
        for place in range(len(parts)) if first else rng.permutation(len(parts)):
            yield collate([(masked(said[i][0], rng), said[i][1]) for i in parts[place]])
            given += 1
            if given == steps:
                return
        first = False


def half(lengths: Tensor) -> Tensor:
    return (lengths + 1) // 2


@torch.inference_mode()
def greedy(model: Rnnt, batch: Batch) -> list[str]:
    """The plain way, one utterance and one symbol at a time."""
    features, lengths, _, _ = batch
    frames = model.encoder(features, lengths)
    said = []
    for row, count in zip(frames, half(lengths).tolist(), strict=True):
        labels: list[int] = []
        state, hidden = (
            None,
            model.prediction.dec_rnn.lstm(torch.zeros(1, 1, model.prediction.embed.embedding_dim)),
        )
        for t in range(count):
            for _ in range(30):
                best = int(model.joint(row[None, t : t + 1], hidden[0].transpose(0, 1))[0, 0, 0].argmax())
                if best == BLANK:
                    break
                labels.append(best)
                state = hidden[1]
                hidden = model.prediction.dec_rnn.lstm(model.prediction.embed(torch.tensor([[best]])), state)
        said.append(to_text(np.array(labels)))
    return said


def distance(one: list[str], two: list[str]) -> int:
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        last, row[0] = row[0], i
        for j, b in enumerate(two, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (a != b))
    return row[-1]


def error_rate(model: Rnnt, count: int) -> float:
    """Word error rate in percent on validation utterances."""
    model.eval()
    errors = words = 0
    for start in range(0, count, 50):
        batch = collate([utterance(VALIDATION_SEED, i) for i in range(start, start + 50)])
        for i, found in enumerate(greedy(model, batch)):
            truth = to_text(batch[2][i, : batch[3][i]].numpy()).split()
            errors += distance(truth, found.split())
            words += len(truth)
            if start == 0 and i < 2:
                print("  ", " ".join(truth), "|", found, flush=True)
    model.train()
    return 100.0 * errors / words


def alignment_loss(head: nn.Linear, heard: Tensor, lengths: Tensor, batch: Batch) -> Tensor:
    """Connectionist temporal classification on [frames, batch, hidden], a label on average."""
    _, _, labels, counts = batch
    logp = head(heard).log_softmax(dim=2)
    loss = nn.functional.ctc_loss(
        logp, labels, lengths, counts, blank=BLANK, reduction="sum", zero_infinity=True
    )
    return loss / counts.sum()


def losses(model: Rnnt, heads: nn.ModuleList, batch: Batch, deaf: float | None) -> Tensor:
    """The letters' losses, and the transducer's where `deaf` is given.

    `deaf` is the share of utterances for which the joint is told nothing of what was said before.
    """
    features, lengths, labels, counts = batch
    early = model.encoder.pre_rnn(features)
    late = model.encoder.after(early, lengths)
    letters = alignment_loss(heads[0], early, lengths, batch)
    letters = letters + alignment_loss(heads[1], late.transpose(0, 1), half(lengths), batch)
    if deaf is None:
        return letters
    told = (torch.rand(len(lengths), 1, 1) >= deaf).float()
    logits = model.joint(late, model.prediction(labels) * told)
    return transducer_loss(logits, labels, half(lengths), counts).sum() / counts.sum() + 0.1 * letters


def run_stage(
    name: str,
    weights: list[nn.Parameter],
    rate: float,
    steps: int,
    given: Iterator[Batch],
    loss_of: Callable[[Batch, int], Tensor],
) -> None:
    """Train in place over `steps` batches, with a one-cycle schedule of its own."""
    optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps, pct_start=0.1, cycle_momentum=False, final_div_factor=100
    )
    start, total = time.perf_counter(), 0.0
    for step, batch in enumerate(given, 1):
        loss = loss_of(batch, step)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        total += loss.item()
        if step % 100 == 0:
            seconds = time.perf_counter() - start
            print(f"{name} {step}: loss {total / 100:.3f} a label, {seconds:.0f} s", flush=True)
            total = 0.0


def train(model: Rnnt, said: list[Utterance], args: argparse.Namespace) -> None:
    """Train in place: the encoder alone, then the whole network.

    Left alone, a transducer first learns its lexicon and then stays there, deaf. So the encoder learns the
    letters on its own, and the joint is told what was said before only little by little.
    """
    heads = nn.ModuleList([nn.Linear(args.encoder, BLANK + 1) for _ in range(2)])
    everything = [*model.parameters(), *heads.parameters()]
    rng = np.random.default_rng(args.seed)
    letters = batches(said, args.batch, args.letter_steps, rng, short_first=True)
    run_stage(
        "letters",
        everything,
        args.rate,
        args.letter_steps,
        letters,
        lambda b, _: losses(model, heads, b, None),
    )
    words = batches(said, args.batch, args.steps, rng, short_first=False)
    run_stage(
        "words",
        everything,
        args.rate,
        args.steps,
        words,
        lambda b, step: losses(model, heads, b, max(0.1, 1 - 3 * step / args.steps)),
    )
    print(f"validation WER {error_rate(model, 200):.2f} %", flush=True)


def polish(model: Rnnt, args: argparse.Namespace) -> None:
    """Go on in place with utterances not heard before, the transducer's loss alone and a lower rate."""
    said = spoken(args.utterances, args.fresh_utterances)
    given = batches(said, args.batch, args.fresh_steps, np.random.default_rng(args.seed), short_first=False)

    def loss(batch: Batch, step: int) -> Tensor:
        features, lengths, labels, counts = batch
        logits = model(features, lengths, labels)
        return transducer_loss(logits, labels, half(lengths), counts).sum() / counts.sum()

    run_stage("polish", list(model.parameters()), args.rate / 3, args.fresh_steps, given, loss)
    print(f"validation WER {error_rate(model, 200):.2f} %", flush=True)


def arguments() -> argparse.Namespace:
    """Command line; the defaults make the shipped files."""
    parser = argparse.ArgumentParser(description="Make the mini RNN-T again.")
    parser.add_argument("--out", type=Path, default=Path("src/coldmark/workloads/rnnt"), help="folder")
    parser.add_argument("--steps", type=int, default=4000, help="of the whole network")
    parser.add_argument("--letter-steps", type=int, default=1500, help="of the encoder alone")
    parser.add_argument(
        "--fresh-utterances", type=int, default=10_000, help="further ones, for the last steps"
    )
    parser.add_argument("--fresh-steps", type=int, default=1500, help="on those")
    parser.add_argument("--utterances", type=int, default=10_000, help="that are trained on")
    parser.add_argument("--batch", type=int, default=32, help="utterances per step")
    parser.add_argument("--rate", type=float, default=0.003, help="peak learning rate")
    parser.add_argument("--encoder", type=int, default=96, help="hidden units of an encoder layer")
    parser.add_argument("--prediction", type=int, default=64, help="hidden units of a prediction layer")
    parser.add_argument("--joint", type=int, default=64, help="hidden units of the joint")
    parser.add_argument("--dropout", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=7, help="for weights and order")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    parser.add_argument("--checkpoint", type=Path, help="where trained weights are kept (npz)")
    parser.add_argument("--weights", type=Path, help="weights that were kept, instead of all but polishing")
    parser.add_argument("--minutes", type=float, default=0.0, help="that training had taken, with --weights")
    return parser.parse_args()


def evaluate(graphs: Graphs) -> tuple[SpokenSet, NDArray[np.int64], NDArray[np.int64]]:
    """The held-out set, and errors and words of each utterance, by the bench's own pipeline in FP32."""
    with tempfile.TemporaryDirectory() as cache:
        said = SpokenSet(HELDOUT_SEED, HELDOUT_COUNT, Path(cache))
    audio = library(said, "held out")
    recognise = pipeline(graphs, FRONT_END, audio, int(FRONT_END.frames(said.samples).max())).open(
        {"encoder": session(graphs.encoder), "decoder": session(graphs.decoder)}, 32
    )
    order = np.argsort(-said.samples, kind="stable")
    found: dict[int, str] = {}
    for part in np.split(order, range(32, len(order), 32)):
        audio.load(part)
        found |= {i: transcript(bytes(a)) for i, a in zip(part.tolist(), recognise(part), strict=True)}
        audio.unload(part)
    return said, *word_errors(said.texts, [found[i] for i in range(len(said.texts))])


def session(path: Path) -> Callable[..., list[NDArray[np.float32]]]:
    """A graph in ONNX Runtime."""
    made = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [port.name for port in made.get_inputs()]
    return lambda *inputs: made.run(None, dict(zip(names, inputs, strict=True)))


def write(
    args: argparse.Namespace, shape: Shape, weights: dict[str, NDArray[np.float32]], minutes: float
) -> None:
    """Write both graphs and their facts."""
    paths = [args.out / f"mini-{part}.onnx" for part in ("encoder", "decoder")]
    for path, build in zip(paths, (build_encoder, build_decoder), strict=True):
        path.write_bytes(build(weights, shape).SerializeToString())
    said, errors, words = evaluate(open_graphs(*paths))
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    frames = round(float(FRONT_END.frames(said.samples).mean()))
    labels = sum(map(len, said.texts))
    accuracy = 100 * (1 - int(errors.sum()) / int(words.sum()))
    macs = encoder_macs(shape, frames) + decoder_macs(
        shape, (frames + 1) // 2, round(labels / len(said.texts))
    )
    tools = f"torch {torch.__version__}, onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}"
    text = f"""\
# Facts about mini-encoder.onnx and mini-decoder.onnx, written by training/rnnt/train.py; do not edit by hand.
encoder_sha256 = "{hashes[0]}"
decoder_sha256 = "{hashes[1]}"
encoder_hidden = {shape.encoder}
prediction_hidden = {shape.prediction}
joint_hidden = {shape.joint}
parameters = {parameters(shape)}
macs_per_sample = {macs}  # multiply-accumulates of an utterance of mean length, its true labels said

[training]
training_seed = {TRAINING_SEED}  # utterances 0 to training_utterances - 1 of this seed
training_utterances = {args.utterances}
letter_steps = {args.letter_steps}  # of the encoder alone
steps = {args.steps}  # of the whole network
fresh_utterances = {args.fresh_utterances}  # the next ones of this seed
fresh_steps = {args.fresh_steps}  # of the whole network on those, at a third of the rate
batch = {args.batch}  # utterances per step
peak_rate = {args.rate}  # learning rate at the top of each stage's one-cycle schedule
network_seed = {args.seed}  # weights at the start and order
threads = {args.threads}  # of PyTorch; another count gives slightly other weights
opset = {OPSET}
minutes = {minutes:.1f}  # on one core of a machine busy with other work
made_with = "Python {platform.python_version()}, {tools}, numpy {np.__version__}, scipy {scipy.__version__}"

[heldout]
heldout_seed = {HELDOUT_SEED}  # utterances 0 to heldout_count - 1 of this seed
heldout_count = {HELDOUT_COUNT}
heldout_sha256 = "{said.sha256}"  # over all waveforms in index order
words = {words.sum()}
labels = {labels}
reference_errors = {errors.sum()}  # words, FP32 by onnxruntime on a CPU
reference_accuracy_percent = {accuracy!r}  # 100 minus the word error rate
"""
    (args.out / "mini.toml").write_text(text, encoding="utf-8")
    print(text)


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    shape = Shape(
        features=FRONT_END.width, encoder=args.encoder, prediction=args.prediction, joint=args.joint
    )
    model = Rnnt(shape, args.dropout)
    start = time.perf_counter()
    if args.weights:
        with np.load(args.weights, allow_pickle=False) as kept:
            model.load_state_dict({name: torch.from_numpy(kept[name]) for name in kept})
    else:
        print(parameters(shape), "parameters", flush=True)
        said = spoken(0, args.utterances)
        print(f"{len(said)} utterances, {time.perf_counter() - start:.0f} s", flush=True)
        train(model, said, args)
    if args.fresh_steps:
        polish(model, args)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    if args.checkpoint:
        np.savez(args.checkpoint, **weights)
    write(args, shape, weights, args.minutes + (time.perf_counter() - start) / 60)


if __name__ == "__main__":
    main()
