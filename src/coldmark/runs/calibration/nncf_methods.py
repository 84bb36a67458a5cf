"""NNCF's post-training quantisation."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from typing import Any

import onnx

from coldmark.core.errors import BackendError
from coldmark.runs.calibration.methods import Ask, named


def import_nncf() -> Any:
    """NNCF, silent on stdout, and never calling home.

    It reports its use through the package `openvino_telemetry` unless that cannot be imported or its own
    variable of continuous integration is set; both doors are shut before its first import.
    """
    os.environ.setdefault("NNCF_CI", "1")
    if "nncf" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf


def performance(ask: Ask) -> None:
    """Symmetric activations: the cheapest arithmetic."""
    _quantise(ask, "PERFORMANCE")


def mixed(ask: Ask) -> None:
    """Activations with a zero point where they have both signs."""
    _quantise(ask, "MIXED")


def mixed_bias(ask: Ask) -> None:
    """The same, with biases corrected by running the network layer by layer."""
    _quantise(ask, "MIXED", fast_bias_correction=False)


def extremes(ask: Ask) -> None:
    """Activations range over all that was seen; else over the mean of each sample's extremes, which cuts."""
    _quantise(ask, "PERFORMANCE", extremes=True)


def _quantise(ask: Ask, preset: str, *, fast_bias_correction: bool = True, extremes: bool = False) -> None:
    nncf = import_nncf()
    from nncf.quantization.range_estimator import RangeEstimatorParameters, RangeEstimatorParametersSet

    ranges = RangeEstimatorParametersSet.MINMAX if extremes else RangeEstimatorParameters()
    model = named(ask.source)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            quantised = nncf.quantize(
                model,
                nncf.Dataset(ask.feeds),
                subset_size=len(ask.feeds),
                preset=nncf.QuantizationPreset[preset],
                model_type=nncf.ModelType.TRANSFORMER if ask.transformer else None,
                fast_bias_correction=fast_bias_correction,
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    activations_range_estimator_params=ranges
                ),
                ignored_scope=nncf.IgnoredScope(
                    names=list(ask.exclude), patterns=list(ask.keep), validate=False
                ),
            )
    except Exception as error:
        first = str(error).strip().splitlines()
        raise BackendError(
            f"NNCF cannot quantise it: {first[0] if first else type(error).__name__}", where=str(ask.source)
        ) from error
    onnx.save(quantised, ask.target)
