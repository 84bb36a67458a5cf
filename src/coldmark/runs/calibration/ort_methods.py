"""ONNX Runtime's own quantiser."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from onnxruntime import quantization as ort

from coldmark.core.errors import BackendError
from coldmark.runs.calibration.methods import Ask, Feeds, named


class _Reader(ort.CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Feeds) -> None:
        self._feeds: Iterator[Any] = iter(feeds)

    def get_next(self) -> dict[str, Any] | None:
        feed = next(self._feeds, None)
        return None if feed is None else dict(feed)


def static(ask: Ask) -> None:
    """Weights by channel, unsigned activations: what x86's dot products multiply without a detour."""
    _run(
        ask,
        lambda model, out: ort.quantize_static(
            model,
            ask.target,
            _Reader(ask.feeds),
            quant_format=ort.QuantFormat.QDQ,
            per_channel=True,
            activation_type=ort.QuantType.QUInt8,
            weight_type=ort.QuantType.QInt8,
            nodes_to_exclude=out,
        ),
    )


def dynamic(ask: Ask) -> None:
    """Activations get their scale as they come; needs no calibration samples, and costs time each call."""
    _run(
        ask,
        lambda model, out: ort.quantize_dynamic(
            model, ask.target, per_channel=True, weight_type=ort.QuantType.QInt8, nodes_to_exclude=out
        ),
    )


def _run(ask: Ask, quantise: Callable[[Any, list[str]], None]) -> None:
    model = named(ask.source)
    patterns = [re.compile(p) for p in ask.keep]
    kept = [n.name for n in model.graph.node if any(p.search(n.name) for p in patterns)]
    logging.getLogger().addFilter(_silent)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantise(model, [*ask.exclude, *kept])
    except Exception as error:
        first = str(error).strip().splitlines()
        raise BackendError(
            f"ONNX Runtime cannot quantise it: {first[0] if first else type(error).__name__}",
            where=str(ask.source),
        ) from error
    finally:
        logging.getLogger().removeFilter(_silent)


def _silent(record: logging.LogRecord) -> bool:
    """Its advice to run a preparation first would stand in every calibration's output."""
    return False
