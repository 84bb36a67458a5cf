"""Make retinanet's `mini` again: draw scenes, train, write ONNX, measure FP32 mAP as coldmark does.

    PYTHONPATH=src python training/retinanet/train.py

The defaults are those of the shipped file. Drawn scenes are the same everywhere; the trained weights are
the same only on the same CPU type, thread count and PyTorch, because sums are then formed in one order.
Needs torch, onnxruntime and what coldmark itself needs.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import torch
from net import RetinaNet
from numpy.typing import NDArray
from targets import loss_of
from torch import Tensor

from coldmark.workloads.onnx_file import inspect
from coldmark.workloads.retinanet import scenes
from coldmark.workloads.retinanet.anchors import all_anchors
from coldmark.workloads.retinanet.architecture import MINI, build
from coldmark.workloads.retinanet.heads import small_model
from coldmark.workloads.retinanet.heldout import HeldoutSet
from coldmark.workloads.retinanet.score import mean_ap_scorer
from coldmark.workloads.retinanet.sizes import macs, parameters
from coldmark.workloads.task import Score

CHUNK = 500  # scenes per task of a worker process

Set = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]
"""Images [n, side, side, 3], boxes [n, MAX_OBJECTS, 4] padded with 0, labels [n, MAX_OBJECTS] with -1."""


def _chunk(task: tuple[int, int, int, scenes.Style]) -> Set:
    """Draw scenes start to stop of a seed."""
    seed, start, stop, style = task
    cv2.setNumThreads(1)  # one process per core already
    drawn = [scenes.draw(seed, index, style) for index in range(start, stop)]
    boxes = np.zeros((len(drawn), scenes.MAX_OBJECTS, 4), np.float32)
    labels = np.full((len(drawn), scenes.MAX_OBJECTS), -1, np.int64)
    for row, scene in enumerate(drawn):
        boxes[row, : len(scene.labels)] = scene.boxes
        labels[row, : len(scene.labels)] = scene.labels
    return np.stack([scene.image for scene in drawn]), boxes, labels


def load_set(cache: Path, seed: int, count: int, style: scenes.Style, workers: int) -> Set:
    """A whole set, from the cache folder when drawn before by the same code."""
    code = Path(str(scenes.__file__)).read_bytes() + repr(style).encode()
    stem = f"scenes-{seed}-{count}-{hashlib.sha256(code).hexdigest()[:12]}"
    files = [cache / f"{stem}-{part}.npy" for part in ("images", "boxes", "labels")]
    if not all(file.exists() for file in files):
        cache.mkdir(parents=True, exist_ok=True)
        tasks = [(seed, start, min(start + CHUNK, count), style) for start in range(0, count, CHUNK)]
        with ProcessPoolExecutor(workers) as pool:
            parts = list(pool.map(_chunk, tasks))
        for file, arrays in zip(files, zip(*parts, strict=True), strict=True):
            np.save(file, np.concatenate(arrays), allow_pickle=False)
    images, boxes, labels = (np.load(file, allow_pickle=False) for file in files)
    return images, boxes, labels


def augment(images: Tensor, boxes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirror and transpose each scene at random, change the channels' order for the batch; new tensors."""
    n, side = len(images), MINI.side
    across, down, turn = (torch.rand(3, n, generator=generator) < 0.5).unbind()
    images, boxes = images.clone(), boxes.clone()
    real = (boxes.sum(-1) > 0)[..., None]
    images[across] = images[across].flip(2)
    boxes[across] = torch.stack(
        (side - boxes[across, :, 2], boxes[across, :, 1], side - boxes[across, :, 0], boxes[across, :, 3]), -1
    )
    images[down] = images[down].flip(1)
    boxes[down] = torch.stack(
        (boxes[down, :, 0], side - boxes[down, :, 3], boxes[down, :, 2], side - boxes[down, :, 1]), -1
    )
    images[turn] = images[turn].transpose(1, 2)
    boxes[turn] = boxes[turn][..., [1, 0, 3, 2]]
    return images[..., torch.randperm(3, generator=generator)], boxes * real


def train(model: RetinaNet, data: Set, epochs: int, rate: float, args: argparse.Namespace) -> None:
    """Train in place: AdamW, one-cycle schedule, bfloat16 convolutions with float32 weights."""
    images, boxes, labels = (torch.from_numpy(part) for part in data)
    anchors = torch.from_numpy(all_anchors(MINI.side, MINI.cells, MINI.bases))
    generator = torch.Generator().manual_seed(args.seed)
    steps = len(images) // args.batch
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps * epochs, pct_start=0.1, cycle_momentum=False
    )
    for epoch in range(epochs):
        model.train()
        start, total = time.perf_counter(), 0.0
        order = torch.randperm(len(images), generator=generator)[: steps * args.batch]
        for step, chosen in enumerate(torch.split(order, args.batch), 1):
            x, wanted = augment(images[chosen], boxes[chosen], generator)
            with torch.autocast("cpu", torch.bfloat16):
                logits, deltas = model(x)
            loss = loss_of(logits.float(), deltas.float(), wanted, labels[chosen], anchors)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
            if step % 50 == 0:
                print(f"step {step}/{steps}: loss {total / step:.3f}", flush=True)
        seconds = time.perf_counter() - start
        print(f"epoch {epoch + 1}/{epochs}: loss {total / steps:.3f}, {seconds:.0f} s", flush=True)


@dataclass(frozen=True)
class Figures:
    """What the held-out set says."""

    score: Score
    objects: int
    sha256: str  # over all pixels, boxes and labels


def evaluate(path: Path, seed: int, count: int, cache: Path) -> Figures:
    """Run the ONNX file in FP32 over a drawn set, and decode and score exactly as the bench does."""
    held = HeldoutSet(seed, count, cache)
    model = small_model(path, inspect(path))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    answers: list[bytes] = []
    for start in range(0, count, 100):
        indices = np.arange(start, min(start + 100, count))
        images = np.stack([held.preprocessed(int(index)) for index in indices])
        outputs = session.run(list(model.outputs), {model.inputs[0].name: images})
        answers += [np.asarray(answer).tobytes() for answer in model.finish(outputs, indices)]
    score = mean_ap_scorer(held.images, held.truth)(np.arange(count), answers)
    return Figures(score, len(held.truth.label), held.sha256)


def facts(args: argparse.Namespace, path: Path, found: Figures) -> str:
    """The TOML text."""
    names = "\n".join(f'    "{name}",' for name in scenes.CLASSES)
    tools = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"""\
# Facts about mini.onnx, written by training/retinanet/train.py; do not edit by hand.
sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"  # of mini.onnx
input_size = {MINI.side}  # px, side of the square input
parameters = {parameters(MINI)}  # weights and biases, normalisations folded in
macs_per_sample = {macs(MINI)}  # multiply-accumulates of the convolutions
classes = [  # in label order
{names}
]

[training]
hard_seed = {scenes.HARD_SEED}  # harder scenes 0 to hard_scenes - 1 of this seed, trained on first
hard_scenes = {args.hard_scenes}
hard_epochs = {args.hard_epochs}  # passes over them
hard_rate = {args.hard_rate}  # learning rate at the top of the one-cycle schedule
training_seed = {scenes.TRAINING_SEED}  # scenes 0 to training_scenes - 1 of this seed, trained on then
training_scenes = {args.scenes}  # with the normalisations folded into the convolutions
epochs = {args.epochs}
peak_rate = {args.rate}
batch = {args.batch}  # scenes per step
network_seed = {args.seed}  # weights at the start, order and augmentation
threads = {args.threads}  # of PyTorch; another count gives slightly other weights
made_with = "{tools}, numpy {np.__version__}, OpenCV {cv2.__version__}"

[heldout]
heldout_seed = {scenes.HELDOUT_SEED}  # scenes 0 to heldout_count - 1 of this seed
heldout_count = {args.heldout}  # scenes
heldout_sha256 = "{found.sha256}"  # over all pixels, boxes and labels in index order
heldout_objects = {found.objects}
reference_map_percent = {found.score.value!r}  # mAP at 0.50:0.95, FP32 by onnxruntime on a CPU
"""


def arguments() -> argparse.Namespace:
    """Command line; the defaults make the shipped file."""
    parser = argparse.ArgumentParser(description="Make mini.onnx and mini.toml of retinanet again.")
    parser.add_argument("--out", type=Path, default=Path("src/coldmark/workloads/retinanet"), help="folder")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "coldmark-mini", help="drawn scenes"
    )
    parser.add_argument("--hard-scenes", type=int, default=16_000, help="scenes trained on first")
    parser.add_argument("--hard-epochs", type=int, default=6)
    parser.add_argument("--hard-rate", type=float, default=0.003, help="peak learning rate on them")
    parser.add_argument("--scenes", type=int, default=10_000, help="scenes like those of the task")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch", type=int, default=32, help="scenes per step")
    parser.add_argument("--rate", type=float, default=0.001, help="peak learning rate on these")
    parser.add_argument("--seed", type=int, default=7, help="for weights, order and augmentation")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch and worker processes")
    parser.add_argument("--heldout", type=int, default=2000, help="held-out scenes")
    parser.add_argument("--validation", type=int, default=1000, help="scenes for choices in development")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    model = RetinaNet(MINI, torch.Generator().manual_seed(args.seed))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    hard = load_set(args.cache, scenes.HARD_SEED, args.hard_scenes, scenes.HARD, args.threads)
    train(model, hard, args.hard_epochs, args.hard_rate, args)
    model.fold()
    data = load_set(args.cache, scenes.TRAINING_SEED, args.scenes, scenes.PLAIN, args.threads)
    train(model, data, args.epochs, args.rate, args)
    write(model, args)


def write(model: RetinaNet, args: argparse.Namespace) -> None:
    """The ONNX file and its facts."""
    path = args.out / "mini.onnx"
    onnx.save_model(build(MINI, model.weights()), path)
    print("validation:", evaluate(path, scenes.VALIDATION_SEED, args.validation, args.cache).score.line)
    text = facts(args, path, evaluate(path, scenes.HELDOUT_SEED, args.heldout, args.cache))
    path.with_suffix(".toml").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
