"""Make `mini` of dlrm again: draw click logs, train, write ONNX, measure FP32 AUC, write the facts.

    PYTHONPATH=src python training/dlrm/train.py

The defaults are those of the shipped file. Drawn logs are the same everywhere; the trained weights are the
same only on the same CPU type, thread count and PyTorch. Needs torch, onnx, onnxruntime and numpy.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from facts import write_facts
from net import Dlrm
from numpy.typing import NDArray
from torch import nn

from coldmark.workloads.dlrm import clicks
from coldmark.workloads.dlrm.architecture import Config
from coldmark.workloads.dlrm.auc import auc
from coldmark.workloads.dlrm.clicks import CALIBRATION_SEED, EVALUATION_SEED, TRAINING_SEED, VALIDATION_SEED
from coldmark.workloads.dlrm.shape import log_counts

CHUNK = 8192  # pairs of one prediction
VALIDATION_CHUNKS = 32

Log = tuple[NDArray[np.float32], NDArray[np.uint16], NDArray[np.float32]]


def load_log(cache: Path, seed: int, chunks: int, pairs: int) -> Log:
    """Logs of counts plus one [n, 13], categories [n, 26], clicks [n] of a seed, kept in the cache."""
    file = cache / f"clicks-{seed}-{chunks}-{pairs}.npz"
    if not file.exists():
        cache.mkdir(parents=True, exist_ok=True)
        parts = [clicks.draw(seed, index, pairs) for index in range(chunks)]
        with file.open("wb") as out:
            np.savez(
                out,
                dense=np.concatenate([log_counts(p.dense) for p in parts]),
                category=np.concatenate([p.category.astype(np.uint16) for p in parts]),
                click=np.concatenate([p.click for p in parts]),
            )
    with np.load(file, allow_pickle=False) as data:
        return data["dense"], data["category"], data["click"]


def predict(model: nn.Module, log: Log) -> NDArray[np.float32]:
    """Log-odds of a whole log, [n]."""
    model.eval()
    with torch.no_grad():
        parts = [
            model(
                torch.from_numpy(log[0][s : s + CHUNK]),
                torch.from_numpy(log[1][s : s + CHUNK].astype(np.int64)),
            )
            for s in range(0, len(log[2]), CHUNK)
        ]
    return torch.cat(parts).numpy()


def train(model: Dlrm, log: Log, validation: Log, args: argparse.Namespace) -> None:
    """Train in place: Adam with a linear rise and fall of the rate, each pair seen `epochs` times."""
    generator = torch.Generator().manual_seed(args.seed)
    tables = [model.table]
    dense = [p for p in model.parameters() if p is not model.table]
    optimizer = torch.optim.Adam(
        [{"params": dense, "lr": args.rate}, {"params": tables, "lr": args.table_rate}]
    )
    steps = len(log[2]) // args.batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        [args.rate, args.table_rate],
        total_steps=steps * args.epochs,
        pct_start=0.1,
        anneal_strategy="linear",
        cycle_momentum=False,
    )
    loss_of = nn.BCEWithLogitsLoss()
    for epoch in range(args.epochs):
        model.train()
        start, total = time.perf_counter(), 0.0
        order = torch.randperm(steps * args.batch, generator=generator).numpy()
        for number, chosen in enumerate(np.split(order, steps)):
            x = torch.from_numpy(log[0][chosen])
            found = model(x, torch.from_numpy(log[1][chosen].astype(np.int64)))
            loss = loss_of(found, torch.from_numpy(log[2][chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
            if number % 200 == 199:
                print(f"  step {number + 1}/{steps}: loss {total / (number + 1):.4f}", flush=True)
        area = auc(predict(model, validation), validation[2] > 0).value
        seconds = time.perf_counter() - start
        print(f"epoch {epoch + 1}/{args.epochs}: validation AUC {area:.5f}, {seconds:.0f} s", flush=True)


def weights_of(model: Dlrm, config: Config) -> dict[str, NDArray[np.float32]]:
    """All weights by the names of MLPerf's checkpoint."""
    found = {
        name: value.detach().numpy()
        for name, value in model.named_parameters()
        if name.startswith(("bot_l", "top_l"))
    }
    tables = np.split(model.table.detach().numpy(), config.starts[1:])
    return found | {f"emb_l.{n}.weight": table for n, table in enumerate(tables)}


def arguments() -> argparse.Namespace:
    """Command line; the defaults make the shipped file."""
    parser = argparse.ArgumentParser(description="Make mini.onnx and mini.toml of dlrm again.")
    parser.add_argument("--out", type=Path, default=Path("src/coldmark/workloads/dlrm"), help="folder")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "coldmark-mini", help="drawn logs"
    )
    parser.add_argument("--chunks", type=int, default=1500, help="draws of the training log")
    parser.add_argument("--chunk", type=int, default=8192, help="pairs of one draw")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=2048, help="pairs per step")
    parser.add_argument("--rate", type=float, default=0.003, help="peak learning rate of the layers")
    parser.add_argument("--table-rate", type=float, default=0.01, help="of the tables")
    parser.add_argument("--seed", type=int, default=7, help="for weights and order")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    parser.add_argument("--no-facts", action="store_true", help="stop after validation (trial runs)")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if len({TRAINING_SEED, VALIDATION_SEED, CALIBRATION_SEED, EVALUATION_SEED}) != 4:
        raise ValueError("two logs share a seed")
    config = Config(rows=clicks.ROWS, bottom=(64, 32, 16), top=(128, 64, 32, 1))
    log = load_log(args.cache, TRAINING_SEED, args.chunks, args.chunk)
    validation = load_log(args.cache, VALIDATION_SEED, VALIDATION_CHUNKS, args.chunk)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    model = Dlrm(config, torch.Generator().manual_seed(args.seed))
    train(model, log, validation, args)
    if not args.no_facts:
        write_facts(args, config, weights_of(model, config))


if __name__ == "__main__":
    main()
