"""Make `mini` again: draw the volumes, train, export to ONNX, measure FP32 DICE, write the facts.

    PYTHONPATH=src python training/unet3d/train.py

The defaults are those of the shipped file. Drawn volumes are the same everywhere; the trained weights are
the same only on the same CPU type, thread count and PyTorch, because sums are then formed in one order.
Needs torch, onnx, numpy and OpenVINO.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from facts import measure, write_facts
from net import MiniUNet, export
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as f

from coldmark.workloads.unet3d import preprocess, volumes
from coldmark.workloads.unet3d.architecture import Shape
from coldmark.workloads.unet3d.sets import SEEDS, WINDOW

FILTERS = (16, 32, 48)
HELDOUT_COUNT = 200

Case = tuple[NDArray[np.float16], NDArray[np.uint8]]  # [depth, height, width] each


def load_cases(seed: int, count: int) -> list[Case]:
    """Drawn, preprocessed cases of a seed."""
    cases = []
    for index in range(count):
        values, labels = volumes.draw(seed, index)
        image = preprocess.fit(preprocess.normalise(values), WINDOW, preprocess.PADDING)
        cases.append((image.astype(np.float16), preprocess.fit(labels, WINDOW, 0)))
    return cases


def windows(cases: list[Case], count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """`count` random windows, two of three around a voxel of organ or tumour, turned and mirrored.

    Returns float32 [count, 1, w, w, w] and int64 [count, w, w, w].
    """
    images, labels = [], []
    for at in range(count):
        image, label = cases[int(rng.integers(len(cases)))]
        start = [int(rng.integers(0, n - WINDOW + 1)) for n in label.shape]
        if at % 3:
            found = np.argwhere(label == (volumes.TUMOUR if at % 3 == 1 else volumes.ORGAN))
            if len(found):
                middle = found[int(rng.integers(len(found)))] - rng.integers(WINDOW // 4, 3 * WINDOW // 4, 3)
                start = [int(np.clip(m, 0, n - WINDOW)) for m, n in zip(middle, label.shape, strict=True)]
        cut = tuple(slice(s, s + WINDOW) for s in start)
        order = tuple(int(a) for a in rng.permutation(3))
        step = tuple(slice(None, None, int(s)) for s in rng.choice([-1, 1], 3))
        images.append(image[cut].transpose(order)[step].astype(np.float32))
        labels.append(label[cut].transpose(order)[step].astype(np.int64))
    return torch.from_numpy(np.stack(images)[:, None]), torch.from_numpy(np.stack(labels))


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy and 1 - DICE of organ and tumour over the whole batch."""
    chance = torch.softmax(logits, 1)[:, 1:]
    truth = f.one_hot(labels, logits.shape[1]).permute(0, 4, 1, 2, 3)[:, 1:].float()
    axes = (0, 2, 3, 4)
    dice = (2 * (chance * truth).sum(axes) + 1) / (chance.sum(axes) + truth.sum(axes) + 1)
    return f.cross_entropy(logits, labels) + (1 - dice).mean()


def train(model: MiniUNet, cases: list[Case], args: argparse.Namespace) -> None:
    """Train in place: AdamW, one-cycle schedule, bfloat16 convolutions with float32 weights."""
    rng = np.random.default_rng(args.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, args.rate, total_steps=args.steps, pct_start=0.1, cycle_momentum=False
    )
    start, total = time.perf_counter(), 0.0
    for step in range(1, args.steps + 1):
        images, labels = windows(cases, args.batch, rng)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(images)
        loss = loss_of(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        total += loss.item()
        if step % 100 == 0:
            seconds = time.perf_counter() - start
            print(f"step {step}/{args.steps}: loss {total / 100:.3f}, {seconds:.0f} s", flush=True)
            total = 0.0


def arguments() -> argparse.Namespace:
    """Command line; the defaults make the shipped file."""
    parser = argparse.ArgumentParser(description="Make mini.onnx and mini.toml again.")
    parser.add_argument("--out", type=Path, default=Path("src/coldmark/workloads/unet3d"), help="folder")
    parser.add_argument("--cases", type=int, default=500, help="training cases")
    parser.add_argument("--heldout", type=int, default=HELDOUT_COUNT, help="held-out cases")
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--batch", type=int, default=9, help="windows per step")
    parser.add_argument("--rate", type=float, default=0.004, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=7, help="for weights, order and augmentation")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    parser.add_argument("--trial", action="store_true", help="measure on validation cases, not the held-out")
    parser.add_argument(
        "--measure", action="store_true", help="measure the file that is there, train nothing"
    )
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    shape = Shape(filters=FILTERS, window=WINDOW)
    path = args.out / "mini.onnx"
    if not args.measure:
        model = MiniUNet(shape, torch.Generator().manual_seed(args.seed))
        train(model, load_cases(SEEDS["training"], args.cases), args)
        export(model, shape, path)
    seed = SEEDS["validation" if args.trial else "heldout"]
    score = measure(path, seed, args.heldout)
    print(f"{score.line}, 95 % interval {score.low:.4f} to {score.high:.4f}")
    if not args.trial:
        write_facts(args, shape, path, score)


if __name__ == "__main__":
    main()
