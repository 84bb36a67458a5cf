"""Make `mini` again: draw the images, train, export to ONNX, measure FP32 accuracy, write the facts.

    PYTHONPATH=src python training/resnet50_mini.py

The defaults are those of the shipped file. Drawn images are the same everywhere; the trained weights are
the same only on the same CPU type, thread count and PyTorch, because sums are then formed in one order.
Needs torch, onnx, onnxscript, onnxruntime, numpy and OpenCV.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import torch
from numpy.typing import NDArray
from resnet50_mini_net import INPUT_SIZE, OPSET, MiniResNet, count_macs, export
from torch import Tensor, nn

from coldmark.workloads import images, outlines
from coldmark.workloads.resnet50 import preprocess, shapes

TRAINING_SEED = 510_001
VALIDATION_SEED = 510_002  # for choices made during development, so that held-out images stay unseen
HELDOUT_SEED = 510_003
HELDOUT_COUNT = 5000
VALIDATION_COUNT = 2000
MARGIN = 8  # px that the cached crop is larger than the input, room for random shifts
CHUNK = 500  # images per task of a worker process

Crops = tuple[NDArray[np.uint8], NDArray[np.int64]]  # [n, side, side, 3] and labels [n]


def check_disjoint(sets: dict[str, tuple[int, int]]) -> None:
    """Raise ValueError when two sets, name to (seed, count), share a seed or one runs past the index range.

    Each set takes the indices 0 to count - 1 of its seed, so different seeds mean no common image.
    """
    if len({seed for seed, _ in sets.values()}) != len(sets):
        raise ValueError(f"two image sets share a seed: {sets}")
    for name, (_, count) in sets.items():
        if not 0 < count <= shapes.MAX_SEED_WORD:
            raise ValueError(f"image set {name} has {count} images, allowed: 1 to {shapes.MAX_SEED_WORD}")


def _crops(task: tuple[int, int, int]) -> Crops:
    """Draw images start to stop of a seed and cut their centres, MARGIN px larger than the input."""
    seed, start, stop = task
    cv2.setNumThreads(1)  # one process per core already
    images, labels = [], []
    for index in range(start, stop):
        encoded, label = shapes.draw(seed, index)
        resized = preprocess.resize_shorter(preprocess.decode(encoded), preprocess.shorter_side(INPUT_SIZE))
        images.append(preprocess.centre_crop(resized, INPUT_SIZE + MARGIN))
        labels.append(label)
    return np.stack(images), np.array(labels, np.int64)


def load_crops(cache: Path, seed: int, count: int, workers: int) -> Crops:
    """Crops of a whole set, from the cache folder when drawn before by the same code."""
    code = b"".join(Path(str(m.__file__)).read_bytes() for m in (outlines, shapes, images, preprocess))
    stem = f"{seed}-{count}-{hashlib.sha256(code).hexdigest()[:12]}"
    files = cache / f"{stem}-images.npy", cache / f"{stem}-labels.npy"
    if not all(file.exists() for file in files):
        cache.mkdir(parents=True, exist_ok=True)
        tasks = [(seed, start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
        with ProcessPoolExecutor(workers) as pool:
            parts = list(pool.map(_crops, tasks))
        for file, arrays in zip(files, zip(*parts, strict=True), strict=True):
            np.save(file, np.concatenate(arrays), allow_pickle=False)
    return np.load(files[0], allow_pickle=False), np.load(files[1], allow_pickle=False)


def to_input(images: Tensor) -> Tensor:
    """uint8 [n, h, w, 3] to float32 [n, 3, h, w] with the means subtracted, channels last in memory."""
    return (images.float() - torch.tensor(preprocess.RGB_MEANS)).permute(0, 3, 1, 2)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random place, mirroring and transposition per image, random channel order per batch.

    uint8 [n, side, side, 3] to uint8 [n, 64, 64, 3]. None of these changes the class of an object.
    """
    n, steps = len(images), torch.arange(INPUT_SIZE)
    place = torch.randint(0, MARGIN + 1, (2, n, 1), generator=generator)
    mirrored = torch.rand((2, n, 1), generator=generator) < 0.5
    rows, columns = place + torch.where(mirrored, INPUT_SIZE - 1 - steps, steps)
    images = images[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]]
    swapped = torch.rand((n, 1, 1, 1), generator=generator) < 0.5
    images = torch.where(swapped, images.transpose(1, 2), images)
    return images[..., torch.randperm(3, generator=generator)]


def accuracy(model: nn.Module, crops: Crops) -> float:
    """Top-1 accuracy in percent of the PyTorch model on the unshifted centres of the crops."""
    edge = MARGIN // 2
    centres = torch.from_numpy(crops[0])[:, edge : edge + INPUT_SIZE, edge : edge + INPUT_SIZE]
    model.eval()
    with torch.no_grad():
        found = torch.cat([model(to_input(part)).argmax(1) for part in torch.split(centres, 500)])
    return 100.0 * float((found == torch.from_numpy(crops[1])).double().mean())


def train(model: nn.Module, crops: Crops, validation: Crops, args: argparse.Namespace) -> None:
    """Train in place: AdamW, one-cycle schedule, bfloat16 convolutions with float32 weights."""
    images, labels = torch.from_numpy(crops[0]), torch.from_numpy(crops[1])
    generator = torch.Generator().manual_seed(args.seed)
    steps = len(images) // args.batch
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, args.rate, total_steps=steps * args.epochs, pct_start=0.1, cycle_momentum=False
    )
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(args.epochs):
        model.train()
        start, total = time.perf_counter(), 0.0
        order = torch.randperm(len(images), generator=generator)[: steps * args.batch]
        for chosen in torch.split(order, args.batch):
            x = to_input(augment(images[chosen], generator))
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(x)
            loss = loss_of(logits.float(), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        seconds = time.perf_counter() - start
        shown = f"loss {total / steps:.3f}, validation {accuracy(model, validation):.2f} %, {seconds:.0f} s"
        print(f"epoch {epoch + 1}/{args.epochs}: {shown}", flush=True)


def evaluate(path: Path, seed: int, count: int) -> tuple[NDArray[np.int64], str]:
    """Run the ONNX file in FP32 over held-out images, exactly as the bench preprocesses them.

    Returns the confusion counts [true, found] and the SHA-256 over all encoded images in index order.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    confusion = np.zeros((len(shapes.CLASSES),) * 2, np.int64)
    digest = hashlib.sha256()
    for start in range(0, count, 100):
        drawn = [shapes.draw(seed, index) for index in range(start, min(start + 100, count))]
        for encoded, _ in drawn:
            digest.update(encoded)
        batch = np.stack([preprocess.preprocess(encoded, INPUT_SIZE) for encoded, _ in drawn])
        found = np.asarray(session.run(["logits"], {"image": batch})[0]).argmax(axis=1)
        np.add.at(confusion, (np.array([label for _, label in drawn]), found), 1)
    return confusion, digest.hexdigest()


def print_confusion(confusion: NDArray[np.int64]) -> None:
    """Print accuracy per class in percent and the most frequent mistakes."""
    for name, row, right in zip(shapes.CLASSES, confusion, confusion.diagonal(), strict=True):
        print(f"{name:10s} {100.0 * right / row.sum():5.1f} % of {row.sum()}")
    wrong = confusion - np.diag(confusion.diagonal())
    for place in np.argsort(wrong, axis=None)[::-1][:12]:
        true, found = divmod(int(place), len(shapes.CLASSES))
        print(f"{shapes.CLASSES[true]} taken for {shapes.CLASSES[found]}: {wrong[true, found]}")


def facts(args: argparse.Namespace, path: Path, size: tuple[int, int], result: tuple[int, int, str]) -> str:
    """The TOML text; `size` is (parameters, MACs), `result` is (correct, count, digest of the set)."""
    correct, count, digest = result
    names = "\n".join(f'    "{name}",' for name in shapes.CLASSES)
    tools = f"torch {torch.__version__}, onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}"
    return f"""\
# Facts about mini.onnx, written by training/resnet50_mini.py; do not edit by hand.
sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"  # of mini.onnx
input_size = {INPUT_SIZE}  # px, side of the square input
parameters = {size[0]}  # weights and biases, normalisation folded in
macs_per_sample = {size[1]}  # multiply-accumulates of convolutions and the fully connected layer
classes = [  # in label order
{names}
]

[training]
training_seed = {TRAINING_SEED}  # images 0 to training_images - 1 of this seed
training_images = {args.images}
epochs = {args.epochs}  # passes over the training images
batch = {args.batch}  # images per step
peak_rate = {args.rate}  # learning rate at the top of the one-cycle schedule
width = {args.width}  # channels of the first stage
network_seed = {args.seed}  # weights at the start, order and augmentation
threads = {args.threads}  # of PyTorch; another count gives slightly other weights
opset = {OPSET}
made_with = "Python {platform.python_version()}, {tools}, numpy {np.__version__}, OpenCV {cv2.__version__}"

[heldout]
heldout_seed = {HELDOUT_SEED}  # images 0 to heldout_count - 1 of this seed
heldout_count = {count}  # images
heldout_sha256 = "{digest}"  # over all encoded images in index order
reference_correct = {correct}  # images, FP32 by onnxruntime on a CPU
reference_top1_percent = {100.0 * correct / count!r}  # percent
"""


def arguments() -> argparse.Namespace:
    """Command line; the defaults make the shipped file."""
    parser = argparse.ArgumentParser(description="Make mini.onnx and mini.toml again.")
    parser.add_argument("--out", type=Path, default=Path("src/coldmark/workloads/resnet50"), help="folder")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "coldmark-mini", help="drawn images"
    )
    parser.add_argument("--images", type=int, default=28_000, help="training images")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=64, help="images per step")
    parser.add_argument("--rate", type=float, default=0.002, help="peak learning rate")
    parser.add_argument("--width", type=int, default=32, help="channels of the first stage")
    parser.add_argument("--seed", type=int, default=7, help="for weights, order and augmentation")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch and worker processes")
    parser.add_argument("--no-heldout", action="store_true", help="stop after validation (trial runs)")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    check_disjoint(
        {
            "training": (TRAINING_SEED, args.images),
            "validation": (VALIDATION_SEED, VALIDATION_COUNT),
            "held-out": (HELDOUT_SEED, HELDOUT_COUNT),
        }
    )
    crops = load_crops(args.cache, TRAINING_SEED, args.images, args.threads)
    validation = load_crops(args.cache, VALIDATION_SEED, VALIDATION_COUNT, args.threads)
    torch.set_num_threads(args.threads)
    model = MiniResNet(len(shapes.CLASSES), args.width, torch.Generator().manual_seed(args.seed))
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train(model, crops, validation, args)
    model.fold()
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    print(f"folded: validation {accuracy(model, validation):.2f} %")
    if args.no_heldout:
        return
    macs = count_macs(model)
    path = args.out / "mini.onnx"
    parameters = export(model, path)
    confusion, digest = evaluate(path, HELDOUT_SEED, HELDOUT_COUNT)
    print_confusion(confusion)
    result = int(confusion.trace()), int(confusion.sum()), digest
    text = facts(args, path, (parameters, macs), result)
    path.with_suffix(".toml").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
