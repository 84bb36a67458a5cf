"""How one lane answers a batch of samples: pack pairs, look rows up, compute the layers, encode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coldmark.core.nouns import Scenario
from coldmark.core.sut import Answers, Compiled, Compute, Indices, Network, Pipeline
from coldmark.workloads.dlrm.architecture import Config
from coldmark.workloads.dlrm.graph import DENSE_INPUT, OUTPUT, ROWS
from coldmark.workloads.dlrm.pairs import PairSource
from coldmark.workloads.dlrm.shape import SAMPLE_PAIRS
from coldmark.workloads.task import Recipe

NETWORK = "layers"
STEP = min(SAMPLE_PAIRS)  # all samples but a log's last are multiples of it, so shapes at each waste nothing

BATCH = 1000
"""Pairs of a batch in Offline: beyond about 500 the rate is flat."""

SERVER_BATCHES = (700, 2800)
SERVER_MACS = 2e9
"""Multiply-accumulates of a batch in Server, within these pairs: a waiting sample waits for a whole batch,
and every batch costs the interpreter the same, which a small network feels."""

Tables = Callable[[], NDArray[np.float32]]
"""All tables one after another, [rows, dimension]; made or read at the first call, then kept."""

RECIPE = Recipe(keep=("^features", "^dots", "^met$"))
"""The products of looked-up rows stay in floating point: one scale for rows of all tables costs 2 % of AUC.
The layers before and after are quantised; lookups are outside the network."""


def pipeline(config: Config, layers: Path, tables: Tables, library: PairSource) -> Pipeline:
    """A DLRM whose rows are looked up outside its network, over a library of pairs."""

    def networks(batch: int) -> tuple[Network, ...]:
        rows = len(config.rows), config.dimension
        shapes = range(STEP, most_pairs(batch) + 1, STEP)
        network = Network(
            name=NETWORK,
            path=layers,
            inputs=(DENSE_INPUT, ROWS),
            outputs=(OUTPUT,),
            profiles=tuple(((n, config.dense), (n, *rows)) for n in shapes),
            dynamic=True,
        )
        return (network,)

    def opened(compiled: Mapping[str, Compiled], batch: int) -> Compute:
        return _Lane(config, compiled[NETWORK], tables(), library, most_pairs(batch))

    return Pipeline(
        networks=networks,
        open=opened,
        batch=dict.fromkeys(Scenario, BATCH) | {Scenario.SERVER: server_batch(config)},
        size=library.sizes,
        batch_by_size=True,
        unit="pairs",
    )


def server_batch(config: Config) -> int:
    """Pairs of a batch in Server."""
    least, most = SERVER_BATCHES
    return int(min(most, max(least, SERVER_MACS / config.macs_per_pair)))


def most_pairs(batch: int) -> int:
    """Pairs of the largest call: a batch holds at least one sample; in whole steps."""
    return -(-max(batch, *SAMPLE_PAIRS) // STEP) * STEP


def work_facts(config: Config, library: PairSource) -> dict[str, str]:
    """What a mean sample costs, so that rates can be held against the machine's peaks.

    Bytes are the looked-up table rows and the pairs themselves; layers stay in cache.
    """
    mean = float(np.mean(library.sizes(np.arange(library.count, dtype=np.int64))))
    row_bytes = 4 * config.dimension * len(config.rows)
    return {
        "pairs_per_sample": f"{mean:.2f}",
        "macs_per_sample": str(round(mean * config.macs_per_pair)),
        "bytes_per_sample": str(round(mean * (row_bytes + 4 * (config.dense + len(config.rows))))),
        "table_bytes": str(config.table_bytes),
    }


class _Lane:
    """Buffers of one lane, filled and emptied by each batch."""

    def __init__(
        self,
        config: Config,
        layers: Compiled,
        tables: NDArray[np.float32],
        library: PairSource,
        most: int,
    ) -> None:
        self._layers = layers
        self._tables = tables
        self._library = library
        self._first_rows = config.starts
        self._most = most
        self._dense = np.zeros((most, config.dense), np.float32)
        self._ids = np.zeros((most, len(config.rows)), np.int64)
        self._rows = np.zeros((most, len(config.rows), config.dimension), np.float32)

    def __call__(self, indices: Indices) -> Answers:
        ends = np.cumsum(self._library.sizes(indices)).tolist()
        answers = np.empty((ends[-1], 2), np.float32)
        if ends[-1] <= self._most:
            self._answer(indices.tolist(), ends, answers)
        else:  # a query of several samples, inline: one after another
            for index, begin, end in zip(indices.tolist(), [0, *ends], ends, strict=False):
                self._answer([index], [end - begin], answers[begin:end])
        flat = answers.view(np.uint8).reshape(-1)
        size = answers.itemsize * 2
        return [flat[size * begin : size * end] for begin, end in zip([0, *ends], ends, strict=False)]

    def _answer(self, indices: list[int], ends: list[int], answers: NDArray[np.float32]) -> None:
        """Probability and truth of each pair into `answers`, as the reference logs them."""
        dense, category, click = self._library.columns
        begin = 0
        for index, end in zip(indices, ends, strict=True):
            start = self._library.start(index)
            stop = start + end - begin
            self._dense[begin:end] = dense[start:stop]
            np.add(category[start:stop], self._first_rows, out=self._ids[begin:end])
            answers[begin:end, 1] = click[start:stop]
            begin = end
        n = -(-begin // STEP) * STEP  # rows beyond the pairs keep what they held: any row will do
        rows = self._rows[:n]
        # mode="clip" writes straight into `out`; ids were checked when the samples were loaded.
        np.take(
            self._tables, self._ids[:n].reshape(-1), axis=0, out=rows.reshape(-1, rows.shape[-1]), mode="clip"
        )
        answers[:, 0] = self._layers(self._dense[:n], rows)[0][:begin, 0]
