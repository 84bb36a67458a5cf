"""RNN-T's front end, decoder, samples and scorer, and its three model sources."""

from __future__ import annotations

import json
import math
import wave
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from coldmark.core.errors import ConfigError, DataError, RunError
from coldmark.core.sut import Pipeline, Tensors
from coldmark.workloads.cache import cache_dir
from coldmark.workloads.rnnt import architecture, full, phones, synthesis
from coldmark.workloads.rnnt.alphabet import BLANK, LABEL, LABELS, to_labels, to_text
from coldmark.workloads.rnnt.architecture import Shape
from coldmark.workloads.rnnt.decode import MOST_AT_A_FRAME, Greedy
from coldmark.workloads.rnnt.features import FrontEnd, mel_filters
from coldmark.workloads.rnnt.library import AudioLibrary
from coldmark.workloads.rnnt.librispeech import LONGEST, Recordings, normalise
from coldmark.workloads.rnnt.pipeline import (
    LENGTHS,
    decoder_sizes,
    encoder_sizes,
    open_graphs,
    padded_lengths,
)
from coldmark.workloads.rnnt.spoken import SpokenSet, Tape
from coldmark.workloads.rnnt.task import Options
from coldmark.workloads.rnnt.wer import word_error_rate, word_errors
from coldmark.workloads.task import Task, find_workload

TINY = Shape(features=240, encoder=8, prediction=6, joint=10)


def open_rnnt(source: str, **options: Any) -> Task:
    return find_workload("rnnt").open(source, Options(**options), cache=cache_dir())


def answer(text: str) -> bytes:
    return to_labels(text).astype("<i8").tobytes()


# -- front end ---------------------------------------------------------------------------------------


def plain_features(waveform: NDArray[np.int16], front_end: FrontEnd) -> NDArray[np.float64]:
    """The reference's steps one after another, in float64: [frames, width]."""
    x = waveform / 32768
    x = np.concatenate((x[:1], x[1:] - 0.97 * x[:-1]))
    half = front_end.transform // 2
    padded = np.pad(x, half, mode="reflect")
    window = np.zeros(front_end.transform)
    left = (front_end.transform - front_end.window) // 2
    window[left : left + front_end.window] = np.hanning(front_end.window)
    starts = range(0, len(padded) - front_end.transform + 1, front_end.hop)
    power = [np.abs(np.fft.rfft(padded[s : s + front_end.transform] * window)) ** 2 for s in starts]
    filters = mel_filters(front_end.rate, front_end.transform, front_end.mels).astype(float)
    mel = np.log((np.array(power) + 1e-10) @ filters.T + 1e-20)  # [frames, mels]
    spliced = np.concatenate([np.concatenate((mel[n:], np.zeros((n, mel.shape[1])))) for n in range(3)], 1)[
        ::3
    ]
    single = math.ceil(len(waveform) / front_end.hop)
    spliced = spliced[: math.ceil(single / 3)]
    return (spliced - spliced.mean(0)) / (spliced.std(0, ddof=1) + 1e-5)


@given(st.integers(0, 2**32 - 1), st.integers(700, 9000), st.booleans())
@settings(max_examples=10)
def test_features_are_those_of_the_plain_computation(seed: int, samples: int, wide: bool) -> None:
    front_end = FrontEnd() if wide else FrontEnd(rate=8000, transform=256, mels=40)
    waveform = np.random.default_rng(seed).integers(-9000, 9000, samples).astype(np.int16)
    expected = plain_features(waveform, front_end)
    buffer = np.full((len(expected) + 4, 3, front_end.width), 7.0, np.float32)
    assert front_end(waveform, buffer[:, 1]) == len(expected)
    assert np.allclose(buffer[: len(expected), 1], expected, atol=2e-3)
    assert (buffer[len(expected) :, 1] == 7).all()
    assert (buffer[:, 0] == 7).all()


def test_a_waveform_of_the_shortest_length_has_finite_features() -> None:
    front_end = FrontEnd()
    out = np.empty((2, 240), np.float32)
    assert front_end(np.arange(front_end.shortest, dtype=np.int16), out) == 2
    assert np.isfinite(out).all()
    assert int(front_end.frames(np.array(front_end.shortest - 1))) == 1


@pytest.mark.parametrize(
    ("place", "mel"), [(0, (1, 0.022534560)), (39, (53, 0.015577403)), (79, (246, 0.0032521484))]
)
def test_mel_filters_have_the_figures_of_librosa(place: int, mel: tuple[int, float]) -> None:
    # librosa 0.11.0, filters.mel(sr=16000, n_fft=512, n_mels=80, fmin=0, fmax=8000)
    assert mel_filters(16_000, 512, 80)[place, mel[0]] == pytest.approx(mel[1], rel=1e-6)


# -- graphs and decoding -----------------------------------------------------------------------------


def run(model: Any, names: tuple[str, ...]) -> Any:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def call(*inputs: NDArray[Any]) -> Tensors:
        outputs: Tensors = session.run(None, dict(zip(names, inputs, strict=True)))
        return outputs

    return call


def sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    return 1 / (1 + np.exp(-x))


def plain_lstm(x: NDArray[Any], weights: Any, name: str, layers: int) -> NDArray[Any]:
    """PyTorch's LSTM written out for one utterance: [steps, inputs] -> [steps, hidden]."""
    for layer in range(layers):
        w, r = weights[f"{name}.lstm.weight_ih_l{layer}"], weights[f"{name}.lstm.weight_hh_l{layer}"]
        b = weights[f"{name}.lstm.bias_ih_l{layer}"] + weights[f"{name}.lstm.bias_hh_l{layer}"]
        h = c = np.zeros(r.shape[1])
        rows = []
        for step in x:
            i, f, g, o = np.split(w @ step + r @ h + b, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            rows.append(h)
        x = np.array(rows)
    return x


def plain_transcript(features: NDArray[Any], weights: Any, shape: Shape) -> list[int]:
    """The reference's way for one utterance: encoder, then one frame and one symbol at a time."""
    x = plain_lstm(features, weights, "encoder.pre_rnn", shape.pre_layers)
    x = np.concatenate((x, np.zeros((len(x) % 2, x.shape[1])))).reshape(-1, 2 * shape.encoder)
    x = plain_lstm(x, weights, "encoder.post_rnn", shape.post_layers)
    said: list[int] = []
    for frame in x:
        for _ in range(MOST_AT_A_FRAME):
            before = np.array([np.zeros(shape.prediction), *weights["prediction.embed.weight"][said]])
            g = plain_lstm(before, weights, "prediction.dec_rnn", shape.prediction_layers)[-1]
            both = weights["joint.net.0.weight"] @ np.concatenate((frame, g)) + weights["joint.net.0.bias"]
            best = int(
                np.argmax(weights["joint.net.3.weight"] @ np.maximum(0, both) + weights["joint.net.3.bias"])
            )
            if best == BLANK:
                break
            said.append(best)
    return said


def random_weights(shape: Shape, seed: int, blank: float) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    sizes = architecture.parameter_shapes(shape)
    weights = {name: rng.standard_normal(size).astype(np.float32) for name, size in sizes.items()}
    weights["joint.net.3.bias"][-1] += blank
    return weights


@pytest.mark.parametrize(("seed", "blank"), [(0, 2.0), (1, 4.0), (2, 6.0)])
def test_a_padded_batch_says_what_the_plain_loop_says_symbol_for_symbol(seed: int, blank: float) -> None:
    shape = Shape(features=9, encoder=8, prediction=6, joint=10)
    weights = random_weights(shape, seed, blank)
    frames = np.array([9, 1, 6, 13, 2])
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((16, 8, 9)).astype(np.float32)  # padding is noise, not silence
    expected = [plain_transcript(features[:n, i].astype(float), weights, shape) for i, n in enumerate(frames)]
    encoder = run(architecture.build_encoder(weights, shape), ("features", "lengths"))
    step = run(architecture.build_decoder(weights, shape), ("symbol", "state", "heard"))
    (heard,) = encoder(features, np.array([*frames, 0, 0, 0]))
    greedy = Greedy(step, (1, 2, 4, 8), 3, (4, 6), 10)
    assert [labels.tolist() for labels in greedy(heard, (frames + 1) // 2)] == expected
    assert any(expected)


class Table:
    """A decoder step by table: the best symbol at a frame is a function of frame and last symbol alone."""

    def __init__(self, best: NDArray[np.int64]) -> None:
        self.best = best  # [frames in all, symbols]
        self.steps = 0
        self.sizes: set[int] = set()

    def __call__(self, symbol: NDArray[Any], state: NDArray[Any], heard: NDArray[Any]) -> Tensors:
        self.steps += 1
        self.sizes.add(len(symbol))
        place = heard[:, :, 0].astype(int)
        return [np.eye(29)[self.best[place, symbol[:, None]]], state + 1]

    def plain(self, first: int, frames: int) -> list[int]:
        said: list[int] = []
        for place in range(first, first + frames):
            for _ in range(MOST_AT_A_FRAME):
                best = int(self.best[place, said[-1] if said else BLANK])
                if best == BLANK:
                    break
                said.append(best)
        return said


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.floats(0.0, 1.0), st.integers(1, 9))
def test_any_batch_window_and_emission_rate_says_the_same(
    seed: int, count: int, rate: float, window: int
) -> None:
    rng = np.random.default_rng(seed)
    best = np.where(rng.random((count * 11, 29)) < rate, rng.integers(0, 28, (count * 11, 29)), BLANK)
    table = Table(best)
    frames = rng.integers(0, 12, count)
    heard = np.arange(count * 11, dtype=np.float32).reshape(count, 11, 1)
    found = Greedy(table, (1, 2, 4, 8), window, (2, 1), 1)(heard, frames)
    assert [labels.tolist() for labels in found] == [
        table.plain(11 * i, int(n)) for i, n in enumerate(frames)
    ]


def test_a_window_saves_steps_and_a_batch_shrinks() -> None:
    best = np.full((8 * 40, 29), BLANK)
    best[39, BLANK] = 3  # one label at the very end of the first utterance
    heard = np.arange(8 * 40, dtype=np.float32).reshape(8, 40, 1)
    frames = np.array([40, 8, 8, 8, 8, 8, 8, 8])
    steps = {}
    for window in (1, 8):
        table = Table(best)
        (first, *rest) = Greedy(table, (1, 8), window, (2, 1), 1)(heard, frames)
        assert first.tolist() == [3]
        assert not any(len(labels) for labels in rest)
        assert table.sizes == {1, 8}
        steps[window] = table.steps
    assert steps == {1: 41, 8: 6}  # 40 frames and the label; five windows and the label


def test_the_official_size_has_the_official_number_of_parameters() -> None:
    lstm = 4 * 1024 * (240 + 1024 + 2) + 4 * 1024 * (1024 + 1024 + 2)  # before stacking
    lstm += 4 * 1024 * (2048 + 1024 + 2) + 2 * 4 * 1024 * (1024 + 1024 + 2)  # after it
    prediction = 28 * 320 + 2 * 4 * 320 * (320 + 320 + 2)
    joint = (1024 + 320 + 1) * 512 + (512 + 1) * 29
    assert architecture.parameters(Shape()) == lstm + prediction + joint == 45_323_037


def test_multiply_accumulates_by_hand() -> None:
    shape = Shape(features=3, encoder=4, prediction=5, joint=6)
    pre = 16 * (3 + 4) + 16 * (4 + 4)
    post = 16 * (8 + 4) + 2 * 16 * (4 + 4)
    assert architecture.encoder_macs(shape, 7) == 7 * pre + 4 * (post + 4 * 6)
    step = 20 * (5 + 5) * 2 + 5 * 6
    assert architecture.decoder_macs(shape, 4, 3) == 4 * step + (3 + 4) * 6 * 29


# -- samples -----------------------------------------------------------------------------------------


def test_an_utterance_follows_from_seed_and_index_alone() -> None:
    one, two = synthesis.draw(11, 3), synthesis.draw(11, 3)
    assert np.array_equal(one[0], two[0])
    assert one[1] == two[1]
    assert not np.array_equal(synthesis.draw(11, 4)[0][:100], one[0][:100])
    for seed, index in ((-1, 0), (0, 2**32)):
        with pytest.raises(ValueError, match="seed and index"):
            synthesis.draw(seed, index)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_utterances_are_audible_and_of_speechlike_rate(index: int) -> None:
    waveform, text = synthesis.draw(5, index)
    assert waveform.dtype == np.int16
    assert np.abs(waveform.astype(int)).max() > 500
    assert 5 < len(text) / (len(waveform) / synthesis.RATE) < 25
    assert set(text) <= set(LABELS)


def test_the_sine_table_is_rounded_far_from_ties() -> None:
    exact = np.sin(np.arange(4096) * 2 * np.pi / 4096) * 16384
    away = np.abs(np.abs(exact - np.floor(exact)) - 0.5)
    assert away[np.abs(exact % 1) > 1e-9].min() > 1e-6


def test_the_lexicon_uses_every_label() -> None:
    words, sums = phones.lexicon()
    assert len(set(words)) == phones.WORDS == len(sums)
    assert set("".join(words)) == set(LABELS[1:])


def test_a_damaged_cache_is_made_again(tmp_path: Path) -> None:
    whole = SpokenSet(3, 6, tmp_path)
    (path,) = (tmp_path / "rnnt").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    again = SpokenSet(3, 6, tmp_path)
    assert again.sha256 == whole.sha256
    assert again.texts == whole.texts
    assert [len(again.waveform(i)) for i in range(6)] == again.samples.tolist()


def test_the_tape_has_the_official_durations() -> None:
    tape = Tape(1, 2513)
    seconds = tape.samples / 16_000
    assert seconds.mean() == pytest.approx(15_710.28 / 2513, rel=0.02)  # of the official manifest
    assert 1.4 < seconds.min() < seconds.max() <= 15.0
    assert len(tape.waveform(7)) == tape.samples[7]


def test_a_sample_that_was_not_loaded_is_never_answered_for() -> None:
    audio = AudioLibrary("x", np.array([3, 4]), 2, lambda i: np.full(3 + i, i, np.int16))
    audio.load(np.array([1, 1]))
    assert audio.waveform(1).tolist() == [1, 1, 1, 1]
    audio.unload(np.array([1]))
    for index in (0, 1):
        with pytest.raises(RunError, match="never loaded"):
            audio.waveform(index)
    assert audio.size(np.array([1, 0])).tolist() == [4, 3]


@given(st.integers(1, 600))
def test_batches_are_padded_to_even_lengths_that_hold_the_longest(longest: int) -> None:
    lengths = padded_lengths(longest)
    assert all(n % 2 == 0 for n in lengths)
    assert lengths[-1] >= longest
    assert len(lengths) <= LENGTHS


def test_batch_sizes_by_hand() -> None:
    assert decoder_sizes(32) == (1, 2, 4, 8, 16, 32)
    assert decoder_sizes(24) == (1, 2, 4, 8, 16, 24)
    assert encoder_sizes(32) == (8, 32)
    assert encoder_sizes(6) == decoder_sizes(6) == (1, 2, 4, 6)
    assert encoder_sizes(1) == decoder_sizes(1) == (1,)


# -- word error rate ---------------------------------------------------------------------------------

WORDS = st.lists(st.sampled_from(["a", "b", "cc", "d's", "e"]), max_size=8).map(" ".join)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=12))
def test_the_word_error_rate_is_jiwers(pairs: list[tuple[str, str]]) -> None:
    references, hypotheses = [r for r, _ in pairs], [h for _, h in pairs]
    errors, words = word_errors(references, hypotheses)
    assert words.tolist() == [len(r.split()) for r in references]
    for reference, hypothesis, count in zip(references, hypotheses, errors.tolist(), strict=True):
        if reference:
            measured = jiwer.process_words(reference, hypothesis)
            assert count == measured.substitutions + measured.deletions + measured.insertions
        else:
            assert count == len(hypothesis.split())
    kept = [(r, h) for r, h in pairs if r]
    if kept:
        score = word_error_rate([r for r, _ in kept])(np.arange(len(kept)), [answer(h) for _, h in kept])
        expected = jiwer.wer([r for r, _ in kept], [h for _, h in kept])
        assert score.value == pytest.approx(100 * (1 - expected), abs=1e-6)


def test_the_score_by_hand_is_written_as_the_official_script_prints_it() -> None:
    score = word_error_rate(["a b c", "d e"])(np.array([1, 0]), [answer("d f"), answer("a  c ")])
    assert score.value == pytest.approx(60.0)  # one wrong and one missing of five words
    assert score.line == f"Word Error Rate: {0.4 * 100}%, accuracy={(1 - 0.4) * 100}%"
    assert score.samples == 2
    assert score.low is not None
    assert score.high is not None
    assert score.low <= score.value <= score.high


@pytest.mark.parametrize(
    ("index", "logged", "message"),
    [
        (0, b"1234", "labels of 8 bytes"),
        (0, np.array([28], LABEL).tobytes(), "outside 0 to 27"),
        (0, np.array([-1], LABEL).tobytes(), "outside 0 to 27"),
        (1, answer("a"), "sample index"),
    ],
)
def test_an_answer_that_is_no_transcript_is_refused(index: int, logged: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        word_error_rate(["a b"])(np.array([index]), [logged])


def test_labels_are_the_references() -> None:
    assert to_labels(" az'").tolist() == [0, 1, 26, 27]
    assert to_text(to_labels("it's so")) == "it's so"


# -- official files ----------------------------------------------------------------------------------


def write_wave(path: Path, samples: int, *, rate: int = 16_000, channels: int = 1, width: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        rng = np.random.default_rng(samples)
        file.writeframes(rng.integers(0, 255, samples * channels * width, np.uint8).tobytes())


def entry(name: str, samples: int, transcript: str) -> dict[str, Any]:
    """An utterance as the reference's conversion script writes it."""
    return {
        "files": [
            {
                "channels": 1,
                "sample_rate": 16000.0,
                "bitrate": 16,
                "duration": samples / 16000,
                "num_samples": samples,
                "encoding": "Signed Integer PCM",
                "silent": False,
                "fname": name,
                "speed": 1,
            }
        ],
        "original_duration": samples / 16000,
        "original_num_samples": samples,
        "transcript": transcript,
    }


SAMPLES = (8000, 12_345, 240_000, 240_001, 20_000)


@pytest.fixture
def official(tmp_path: Path) -> dict[str, Path]:
    """A tiny model and data set of the official form; the fourth utterance is too long by a sample."""
    model, data = tmp_path / "model", tmp_path / "librispeech"
    model.mkdir()
    weights = random_weights(TINY, 3, 3.0)
    (model / "encoder.onnx").write_bytes(architecture.build_encoder(weights, TINY).SerializeToString())
    (model / "decoder.onnx").write_bytes(architecture.build_decoder(weights, TINY).SerializeToString())
    entries = [
        entry(f"dev-clean-wav/1/2/1-2-{i}.wav", n, f"word {'ab'[i % 2]}") for i, n in enumerate(SAMPLES)
    ]
    for item, samples in zip(entries, SAMPLES, strict=True):
        write_wave(data / item["files"][0]["fname"], samples)
    (data / "dev-clean-wav.json").write_text(json.dumps(entries))
    return {"model_path": model, "data_path": data}


def edit(official: dict[str, Path], place: int, **changes: Any) -> None:
    manifest = official["data_path"] / "dev-clean-wav.json"
    entries = json.loads(manifest.read_text())
    for key, value in changes.items():
        (entries[place]["files"][0] if key in ("fname", "num_samples", "speed") else entries[place])[key] = (
            value
        )
    manifest.write_text(json.dumps(entries))


def test_official_files_are_opened_and_utterances_over_15_s_left_out(official: dict[str, Path]) -> None:
    task = open_rnnt("official", **official)
    assert task.official
    assert task.samples == task.library.count == 4
    assert task.gate is not None
    assert task.gate.target == pytest.approx(91.62252)
    assert task.scorer is not None
    score = task.scorer(np.arange(4), [answer("word a"), answer("word"), b"", answer("word a")])
    assert score.value == pytest.approx(100 * (1 - 3 / 8))
    task.library.load(np.arange(4))
    assert isinstance(task.model, Pipeline)
    assert task.model.size is not None
    assert task.model.size(np.array([3, 2])).tolist() == [20_000, 240_000]


@pytest.mark.parametrize("missing", ["model_path", "data_path"])
def test_official_says_which_path_it_needs(missing: str, official: dict[str, Path]) -> None:
    del official[missing]
    with pytest.raises(ConfigError, match=missing.replace("_", ".")):
        open_rnnt("official", **official)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"fname": "dev-clean-wav/none.wav"},
            r"utterance 1: the audio file dev-clean-wav/none\.wav is missing",
        ),
        ({"fname": "../../secret.wav"}, "lies outside the folder"),
        ({"fname": "/etc/hostname"}, "lies outside the folder"),
        ({"fname": 3}, "fname and transcript are text"),
        ({"num_samples": 0}, "utterance 1: 0 samples"),
        ({"num_samples": 480}, "480 samples are not in 481 to 240000"),
        ({"num_samples": LONGEST + 1}, "samples are not in"),
        ({"speed": 0.9}, "needs files"),
        ({"original_duration": "long"}, "needs files"),
        ({"transcript": "room 12"}, "none of the 28 labels"),
        ({"transcript": "café"}, "none of the 28 labels"),
    ],
)
def test_a_bad_entry_of_the_manifest_is_named(
    changes: dict[str, Any], message: str, official: dict[str, Path]
) -> None:
    edit(official, 1, **changes)
    with pytest.raises(DataError, match=message):
        open_rnnt("official", **official)


@pytest.mark.parametrize("content", ["", "{}", "[]", "[1]", "{", "[" * 100_000])
def test_a_manifest_that_is_none_is_refused(content: str, official: dict[str, Path]) -> None:
    (official["data_path"] / "dev-clean-wav.json").write_text(content)
    with pytest.raises(DataError, match=r"dev-clean-wav\.json"):
        open_rnnt("official", **official)


def test_a_missing_folder_or_manifest_is_named(official: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        open_rnnt("official", model_path=official["model_path"], data_path=tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"other\.json"):
        open_rnnt("official", **official, data_manifest=tmp_path / "other.json")


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"samples": 0}, "has 0 samples"),
        ({"samples": 12_000}, "holds 12000 samples, the manifest says 12345"),
        ({"rate": 8000}, "8000 samples/s"),
        ({"channels": 2}, "2 channels"),
        ({"width": 1}, "8 bits"),
    ],
)
def test_audio_of_another_form_is_named_when_it_is_loaded(
    form: dict[str, int], message: str, official: dict[str, Path]
) -> None:
    path = official["data_path"] / "dev-clean-wav/1/2/1-2-1.wav"
    write_wave(path, **{"samples": 12_345, **form})
    task = open_rnnt("official", **official)
    with pytest.raises(DataError, match=f"utterance 1: .*{message}"):
        task.library.load(np.arange(4))


@pytest.mark.parametrize("cut", [0, 10, 44, 5000])
def test_a_truncated_wave_file_is_named_when_it_is_loaded(cut: int, official: dict[str, Path]) -> None:
    path = official["data_path"] / "dev-clean-wav/1/2/1-2-1.wav"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"utterance 1: 1-2-1\.wav"):
        open_rnnt("official", **official).library.load(np.arange(4))


def test_transcripts_are_brought_to_the_labels() -> None:
    assert normalise("He said: IT'S  so-so & fine!") == "he said it's so so and fine"


def test_a_manifest_elsewhere_and_a_model_of_ones_own(official: dict[str, Path], tmp_path: Path) -> None:
    manifest = official["data_path"] / "dev-clean-wav.json"
    moved = manifest.rename(tmp_path / "list.json")
    assert len(Recordings(official["data_path"], moved)) == 4
    task = open_rnnt(str(official["model_path"]), data_path=official["data_path"], data_manifest=moved)
    assert not task.official
    with pytest.raises(ConfigError, match=r"data\.path"):
        open_rnnt(str(official["model_path"]))
    with pytest.raises(ConfigError, match="did you mean 'mini'"):
        open_rnnt("mni")


def test_a_checkpoint_or_a_wrong_graph_is_refused_with_the_way_out(
    official: dict[str, Path], tmp_path: Path
) -> None:
    checkpoint = tmp_path / "rnnt.pt"
    checkpoint.write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(DataError, match=r"rnnt\.convert"):
        open_rnnt("official", model_path=checkpoint, data_path=official["data_path"])
    folder = official["model_path"]
    with pytest.raises(DataError, match="expected features, lengths"):
        open_graphs(folder / "decoder.onnx", folder / "encoder.onnx")
    (folder / "decoder.onnx").write_bytes(b"")
    with pytest.raises(DataError, match=r"decoder\.onnx"):
        open_rnnt("official", **official)


# -- full --------------------------------------------------------------------------------------------


def test_full_refuses_accuracy_and_has_the_official_amount_of_audio() -> None:
    task = full.open_full(cache_dir(), True, TINY)
    assert task.scorer is None
    assert "random" in task.refusal
    assert task.samples == task.library.performance_count == 2513
    assert isinstance(task.model, Pipeline)
    encoder, decoder = task.model.networks(8)
    assert encoder.profiles[-1] == ((512, 8, 240), (8,))
    assert decoder.profiles[0] == ((1,), (4, 1, 6), (1, 8, 10))
