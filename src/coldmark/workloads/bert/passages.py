"""Procedural passages and questions of `mini`, in the form of SQuAD.

A passage tells of two, three or sometimes more people in sentences of several wordings: who was born,
moved, works, bought, built or won what, where and when. In some passages a fact of one kind is told of all of
them; towns and years that are not asked for stand between; later sentences say "she" or "he". Questions
are paraphrased, and some point at a person by another fact ("the buyer of the lanterns"), so that two
sentences must be joined. Every value of a passage is used once, so that each question has one answer, a
span of the passage.

Passage (seed, index) depends only on `numpy.random.default_rng([seed, index])` and whole numbers.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from coldmark.workloads.bert import words
from coldmark.workloads.bert.squad import Example, split_words
from coldmark.workloads.bert.tokenizer import PAD, SEPARATOR, START, UNKNOWN, Tokenizer, basic_tokens

MAX_SEED_WORD = 2**32 - 1
QUESTIONS = 4  # of a passage
LONG = 3  # more people in one passage of sixteen: these outgrow the sequence
FILLER = 2  # in ten sentences are followed by one without a fact


@dataclass(frozen=True, slots=True)
class Mix:
    """How hard passages and questions are."""

    people: int  # so many or one more
    shared: int  # in one passage of so many a fact of one kind is told of everyone
    two_facts: int  # in so many of ten questions the person is pointed at by another fact, where there is one


TRAINED = Mix(people=2, shared=4, two_facts=3)
SCORED = Mix(people=3, shared=1, two_facts=10)
"""Training sees easy and hard; held-out questions are of the hard kind, or the score would be near 100 %."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question and its answer: the span of the passage that begins at character `start`."""

    text: str
    answer: str
    start: int


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage and what is asked about it."""

    text: str
    questions: tuple[Question, ...]


@dataclass(slots=True)
class _Fact:
    relation: words.Relation
    person: int
    values: Mapping[str, str]
    stated: str
    places: dict[str, int] = field(default_factory=dict)  # slot -> character in the passage


class _Draw:
    """Values of one passage, each used once."""

    def __init__(self, seed: int, index: int) -> None:
        if not (0 <= seed <= MAX_SEED_WORD and 0 <= index <= MAX_SEED_WORD):
            raise ValueError(f"seed and index must lie in 0 to {MAX_SEED_WORD}, got {seed} and {index}")
        self._rng = np.random.default_rng([seed, index])
        self._used: set[str] = set()

    def below(self, bound: int) -> int:
        return int(self._rng.integers(bound))

    def one(self, choices: Sequence[str]) -> str:
        return choices[self.below(len(choices))]

    def order(self, count: int) -> list[int]:
        return [int(i) for i in self._rng.permutation(count)]

    def value(self, kind: str) -> str:
        """A fresh value of a kind of slot."""
        while True:
            found = self._value(kind)
            if found not in self._used:
                self._used.add(found)
                return found

    def _value(self, kind: str) -> str:
        match kind:
            case "town":
                return self.one(words.TOWN_HEADS) + self.one(words.TOWN_TAILS)
            case "family":
                return self.one(words.FAMILY_HEADS) + self.one(words.FAMILY_TAILS)
            case "date":
                return f"{1 + self.below(28)} {self.one(words.MONTHS)} {1500 + self.below(520)}"
            case "year":
                return str(1500 + self.below(520))
            case "count":
                return str(2 + self.below(998))
            case "made":
                return f"{self.one(words.MATERIALS)} {self.one(words.BUILDINGS)}"
            case "job":
                return self.one(words.PROFESSIONS)
            case "goods":
                return self.one(words.GOODS)
            case "prize":
                return self.one(words.PRIZES)
            case _:
                return self.one(words.SHE if kind == "she" else words.HE)


@dataclass(frozen=True, slots=True)
class _Person:
    first: str
    family: str
    pronoun: str

    @property
    def name(self) -> str:
        return f"{self.first} {self.family}"


def draw(seed: int, index: int, mix: Mix = SCORED) -> Passage:
    """Passage `index` of the set `seed`. Raises ValueError when either is outside 0 to MAX_SEED_WORD."""
    d = _Draw(seed, index)
    people = _people(d, mix)
    facts = _facts(d, len(people), mix)
    text, names = _tell(d, people, facts)
    return Passage(text, _ask(d, people, facts, names, mix))


def examples(passages: Sequence[Passage]) -> list[Example]:
    """The questions of passages in the form of SQuAD, in order."""
    found = []
    for number, passage in enumerate(passages):
        told = split_words(passage.text)
        for at, question in enumerate(passage.questions):
            found.append(Example(f"{number}-{at}", question.text, told, (question.answer,)))
    return found


def _people(d: _Draw, mix: Mix) -> list[_Person]:
    """A few people, seldom many; one time in four all are of one family."""
    shared = d.value("family") if d.below(4) == 0 else ""
    found = []
    for _ in range(mix.people + d.below(2) + (LONG if d.below(16) == 0 else 0)):
        she = d.below(2) == 0
        found.append(
            _Person(d.value("she" if she else "he"), shared or d.value("family"), "She" if she else "He")
        )
    return found


def _facts(d: _Draw, people: int, mix: Mix) -> list[_Fact]:
    """One or two facts of each person in turn, of kinds that go round or of one shared kind first."""
    kinds = list(words.RELATIONS)
    turn = [kinds[i] for i in d.order(len(kinds))]
    shared = turn[0] if d.below(mix.shared) == 0 else ""
    facts = []
    for person in range(people):
        told = [turn[(2 * person + i) % len(turn)] for i in range(1 + d.below(2))]
        if shared and shared not in told:
            told[0] = shared
        for at in d.order(len(told)):
            relation = words.RELATIONS[told[at]]
            values = {slot: d.value(kind) for slot, kind in relation.slots.items()}
            facts.append(_Fact(relation, person, values, d.one(relation.states)))
    return facts


def _tell(d: _Draw, people: list[_Person], facts: list[_Fact]) -> tuple[str, list[int]]:
    """The passage, and where each person's full name first stands in it."""
    text = ""
    names = [-1] * len(people)
    for fact in facts:
        person = people[fact.person]
        fresh = names[fact.person] < 0
        subject = person.name if fresh else _mention(d, person, fact.stated)
        sentence, places = _filled(fact.stated, {**fact.values, "s": subject})
        fact.places = {slot: len(text) + at for slot, at in places.items()}
        if fresh:
            names[fact.person] = fact.places["s"]
        text += sentence + " "
        if d.below(10) < FILLER:
            filler = d.one(words.FILLERS)
            slots = [name for _, name, _, _ in string.Formatter().parse(filler) if name]
            text += _filled(filler, {s: d.value(s) for s in slots})[0] + " "
    return text[:-1], names


def _mention(d: _Draw, person: _Person, stated: str) -> str:
    """How someone already named is named again."""
    kind = d.below(4)
    if kind < 2:
        first = stated.startswith("{s}")
        late = stated.endswith(("to {s}.", "by {s} in {year}."))
        if late:
            return "her" if person.pronoun == "She" else "him"
        return person.pronoun if first else person.pronoun.lower()
    return person.first if kind == 2 else person.name


def _filled(template: str, values: Mapping[str, str]) -> tuple[str, dict[str, int]]:
    """The template with its slots filled, and where each begins."""
    text, places = "", {}
    for literal, slot, _, _ in string.Formatter().parse(template):
        text += literal
        if slot:
            places[slot] = len(text)
            text += values[slot]
    return text, places


def _ask(
    d: _Draw, people: list[_Person], facts: list[_Fact], names: list[int], mix: Mix
) -> tuple[Question, ...]:
    """Questions about facts and slots, none twice."""
    could = [(f, slot) for f, fact in enumerate(facts) for slot in fact.relation.asks if slot in fact.places]
    asked = []
    for at in d.order(len(could))[:QUESTIONS]:
        number, slot = could[at]
        fact = facts[number]
        person = people[fact.person]
        text = d.one(fact.relation.asks[slot])
        subject = person.name if d.below(2) else person.first
        elsewhere = [f for f in facts if f.person == fact.person and f is not fact]
        if elsewhere and d.below(10) < mix.two_facts and "{s}" in text:
            other = elsewhere[d.below(len(elsewhere))]
            subject = _filled(d.one(other.relation.points), other.values)[0]
        question = _filled(text, {**fact.values, "s": subject})[0]
        if slot == "s":
            asked.append(Question(question, person.name, names[fact.person]))
        else:
            asked.append(Question(question, fact.values[slot], fact.places[slot]))
    return tuple(asked)


def vocabulary() -> Tokenizer:
    """The vocabulary of all passages and questions; names, towns and numbers are cut into pieces."""
    told = [t for r in words.RELATIONS.values() for t in (*r.states, *r.points)]
    asked = [t for r in words.RELATIONS.values() for asks in r.asks.values() for t in asks]
    plain = [literal for t in (*told, *asked, *words.FILLERS) for literal, *_ in string.Formatter().parse(t)]
    lists = (words.SHE, words.HE, words.FAMILY_HEADS, words.TOWN_HEADS, words.PROFESSIONS, words.GOODS)
    more = (words.MATERIALS, words.BUILDINGS, words.PRIZES, words.MONTHS, ("he", "she", "her", "him"))
    whole = [w for t in (*plain, *(w for each in (*lists, *more) for w in each)) for w in basic_tokens(t)]
    tails = [f"##{t}" for t in (*words.FAMILY_TAILS, *words.TOWN_TAILS)]
    numbers = [str(n) for n in range(100)]
    inner = [f"##{n}" for n in range(10)] + [f"##{n:02d}" for n in range(100)]
    pieces = sorted({*whole, *tails, *numbers, *inner})
    return Tokenizer([PAD, UNKNOWN, START, SEPARATOR, *pieces])
