"""BERT's text side: tokens, windows over passages, and SQuAD files that are not what they should be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from coldmark.core.errors import DataError
from coldmark.workloads.bert.features import Form, featurise, max_context, windows
from coldmark.workloads.bert.mini import FORM, calibration_set, mini_file, question_set
from coldmark.workloads.bert.passages import MAX_SEED_WORD, draw, examples, vocabulary
from coldmark.workloads.bert.squad import Example, read_squad, split_words
from coldmark.workloads.bert.tokenizer import Tokenizer, basic_tokens, read_vocabulary

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "want", "##ed", "run", "##ning", ","]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
WIDE = [*PIECES, *LETTERS, *(f"##{c}" for c in LETTERS), *"!?.-'$()[]#", "ab", "##cd", "abc", "日", "ü", "ß"]

# Assigned characters of several scripts, controls, blanks, accents alone and composed, and CJK.
ALPHABET = st.one_of(
    st.characters(min_codepoint=0, max_codepoint=0x24F),
    st.sampled_from(
        "\u0301\u0308\u200b\u202f\u00a0\u3000\ufffd\ufeff日本語가각İ\u0131\u017f\u03c3ς“”—…€№ﬁ①Ωά"
    ),
)


# -- the tokenizer -----------------------------------------------------------------------------------


@given(st.text(ALPHABET, max_size=40))
def test_words_are_those_of_an_independent_tokenizer(text: str) -> None:
    normalised = BertNormalizer(clean_text=True, lowercase=True).normalize_str(text)
    expected = [word for word, _ in BertPreTokenizer().pre_tokenize_str(normalised)]
    assert list(basic_tokens(text)) == expected


@given(st.text("abcd,üxyz 12", max_size=30))
def test_pieces_are_those_of_an_independent_tokenizer(text: str) -> None:
    model = WordPiece({p: i for i, p in enumerate(WIDE)}, unk_token="[UNK]", max_input_chars_per_word=100)
    expected = [t.id for word in basic_tokens(text) for t in model.tokenize(word)]
    assert Tokenizer(WIDE).encode(text) == expected


def test_the_papers_own_example_and_a_word_that_is_not_known() -> None:
    tokenizer = Tokenizer(PIECES)
    assert [PIECES[n] for n in tokenizer.encode("RUNNING, wanted")] == ["run", "##ning", ",", "want", "##ed"]
    assert [PIECES[n] for n in tokenizer.encode("Unáffable")] == ["un", "##aff", "##able"]
    assert tokenizer.encode("unwant x") == [1, 1]
    assert tokenizer.text(tokenizer.encode("unaffable running, wanted")) == "unaffable running , wanted"


def test_a_word_of_over_a_hundred_characters_is_unknown() -> None:
    tokenizer = Tokenizer(WIDE)
    assert len(tokenizer.encode("a" * 100)) == 100
    assert tokenizer.encode("a" * 101) == [tokenizer.unknown]


@pytest.mark.parametrize("lines", [[], ["[PAD]", "[UNK]", "[CLS]"], ["only", "words"]])
def test_a_vocabulary_without_its_marks_is_refused(lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"vocab\.txt: no piece \["):
        read_vocabulary(path)


def test_a_missing_or_binary_vocabulary_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the vocabulary"):
        read_vocabulary(tmp_path / "vocab.txt")
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot read the vocabulary"):
        read_vocabulary(tmp_path / "vocab.txt")


def test_a_vocabulary_is_read_in_the_order_of_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    assert read_vocabulary(path).pieces == PIECES


# -- windows -------------------------------------------------------------------------------------------


@given(st.integers(1, 400), st.integers(1, 60), st.integers(1, 60))
def test_windows_cover_every_piece_and_each_counts_once(pieces: int, room: int, stride: int) -> None:
    spans = windows(pieces, room, stride)
    counts = max_context(pieces, spans)
    covered = np.zeros(pieces, int)
    for start, length in spans:
        assert 0 < length <= room
        covered[start : start + length] += 1
    assert (covered > 0).all()  # a window never begins beyond the end of the one before
    for at, best in enumerate(counts):
        if covered[at]:
            start, length = spans[best]
            poorer = min(at - start, start + length - 1 - at)
            assert all(
                poorer + 0.01 * length >= min(at - s, s + n - 1 - at) + 0.01 * n
                for s, n in spans
                if s <= at < s + n
            )


def test_windows_by_hand() -> None:
    assert windows(10, 20, 4) == [(0, 10)]
    assert windows(10, 6, 4) == [(0, 6), (4, 6)]
    assert windows(11, 6, 4) == [(0, 6), (4, 6), (8, 3)]
    # Piece 5 has none after it in the first window and one before it in the second.
    assert max_context(10, windows(10, 6, 4)).tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]


def test_a_passage_longer_than_the_sequence_becomes_windows_of_it() -> None:
    tokenizer = Tokenizer(WIDE)
    example = Example("q", "a b", tuple("abcdefghij"), ("c",))
    found = featurise(
        [example, Example("r", "a", ("b",), ("b",))], tokenizer, Form(sequence=11, question=4, stride=4)
    )
    assert found.example.tolist() == [0, 0, 1]
    assert found.length.tolist() == [11, 11, 5]
    assert found.window.tolist() == [4, 4, 3]
    spelt = [[tokenizer.pieces[i] for i in row[:n]] for row, n in zip(found.ids, found.length, strict=True)]
    assert spelt[1] == ["[CLS]", "a", "b", "[SEP]", "e", "f", "g", "h", "i", "j", "[SEP]"]
    assert found.word[1].tolist() == [-1, -1, -1, -1, 4, 5, 6, 7, 8, 9, -1]
    assert found.best[0].tolist() == [False] * 4 + [True] * 5 + [False] * 2
    assert found.best[1].tolist() == [False] * 5 + [True] * 5 + [False]


def test_a_long_question_is_cut() -> None:
    found = featurise(
        [Example("q", "a b c d e", ("a",), ("a",))], Tokenizer(WIDE), Form(sequence=12, question=3, stride=4)
    )
    assert (found.window.tolist(), found.length.tolist()) == ([5], [7])


# -- SQuAD files -----------------------------------------------------------------------------------------


def squad(**change: Any) -> dict[str, Any]:
    asked = {"id": "1", "question": "Who?", "answers": [{"text": "Ada", "answer_start": 0}]}
    return {
        "version": "1.1",
        "data": [{"title": "t", "paragraphs": [{"context": "Ada ran.", "qas": [asked | change]}]}],
    }


def write(path: Path, data: Any) -> Path:
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_words_are_what_stands_between_the_official_blanks() -> None:
    assert split_words(" a\tb\n\u202fc\u00a0d ") == ("a", "b", "c\u00a0d")


def test_questions_are_read_in_order(tmp_path: Path) -> None:
    found, version = read_squad(write(tmp_path / "dev.json", squad()))
    assert found == [Example("1", "Who?", ("Ada", "ran."), ("Ada",))]
    assert version == "1.1"


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ([], "no object at the top"),
        ({}, "no list 'data'"),
        ({"data": []}, "holds no question"),
        ({"data": [{}]}, r"data\[0\]: no list 'paragraphs'"),
        ({"data": [{"paragraphs": [{"qas": []}]}]}, r"paragraphs\[0\]: no text 'context'"),
        ({"data": [{"paragraphs": [{"context": " \n", "qas": []}]}]}, "the passage is empty"),
        (squad(id=7), r"qas\[0\]: no text 'id'"),
        (squad(question=None), "no text 'question'"),
        (squad(answers=[]), "no answer to score against"),
        (squad(answers=[{"text": 3}]), "no text 'text'"),
        (squad(answers="Ada"), "no list 'answers'"),
    ],
)
def test_a_file_that_is_not_squad_is_refused_with_the_place(data: Any, match: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=match):
        read_squad(write(tmp_path / "dev.json", data))


def test_a_question_that_stands_twice_is_refused(tmp_path: Path) -> None:
    data = squad()
    data["data"][0]["paragraphs"] *= 2
    with pytest.raises(DataError, match="stands twice"):
        read_squad(write(tmp_path / "dev.json", data))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_bytes(content)
    with pytest.raises(DataError, match=r"dev\.json"):
        read_squad(tmp_path / "dev.json")
    with pytest.raises(DataError, match="cannot read the questions"):
        read_squad(tmp_path / "none.json")


# -- drawn passages ----------------------------------------------------------------------------------------


@given(st.integers(0, MAX_SEED_WORD), st.integers(0, MAX_SEED_WORD))
def test_every_answer_stands_where_it_is_said_to_and_every_word_is_known(seed: int, index: int) -> None:
    passage, tokenizer = draw(seed, index), vocabulary()
    assert passage == draw(seed, index)
    assert passage.questions
    assert len({q.text for q in passage.questions}) == len(passage.questions)
    assert tokenizer.unknown not in tokenizer.encode(passage.text)
    for q in passage.questions:
        assert passage.text[q.start :].startswith(q.answer)
        assert tokenizer.unknown not in tokenizer.encode(q.text)
        assert len(tokenizer.encode(q.text)) <= FORM.question


def test_a_seed_outside_its_word_is_refused() -> None:
    for seed, index in ((-1, 0), (0, -1), (MAX_SEED_WORD + 1, 0)):
        with pytest.raises(ValueError, match="must lie in"):
            draw(seed, index)


def test_passages_are_of_squads_form_and_some_outgrow_the_sequence() -> None:
    drawn = [draw(3, i) for i in range(200)]
    asked = examples(drawn)
    found = featurise(asked, vocabulary(), FORM)
    assert len({e.name for e in asked}) == len(asked) == sum(len(p.questions) for p in drawn)
    assert len(asked) < len(found) < 1.2 * len(asked)
    assert found.length.max() == FORM.sequence


def test_training_calibration_and_evaluation_share_no_seed() -> None:
    facts = mini_file()
    kept = calibration_set()
    seeds = {facts.training.training_seed, facts.heldout.heldout_seed}
    assert len(seeds) == 2
    assert len(kept.features) >= 300
    assert kept.sha256 != question_set(facts.heldout.heldout_seed, 100).sha256
