"""What the passages of `mini` are made of: names, things, and the ways of saying and asking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


SHE = _words(
    "Anna Berta Clara Dora Edith Flora Greta Hanna Ida Julia Karla Lena Maria Nora Olga Paula "
    "Rosa Sofia Tilda Ursula Vera Wilma Alma Carmen Elisa Frida Helga Irene Judith Lydia"
)
HE = _words(
    "Adam Bruno Carl David Emil Felix Georg Hugo Ivan Jakob Konrad Lukas Martin Noah Oskar Peter "
    "Robert Simon Thomas Ulrich Viktor Walter Anton Boris Daniel Erik Franz Henrik Johan Leo"
)
FAMILY_HEADS = _words("Ash Bram Cold Dun Elm Fair Gran Hart Kel Lang Mar Nash Oak Pen Rad Stan Thorn Wes")
FAMILY_TAILS = _words("ford ley man ner row sen ton wick wood worth")
TOWN_HEADS = _words("Alder Birk Corn Dal Esk Fen Glen Holm Kirk Lin Mill Nor Orm Pel Rin Sel Tarn Wal")
TOWN_TAILS = _words("bridge bury dale field gate ham haven mouth port stead")
PROFESSIONS = _words(
    "baker carpenter clerk doctor farmer gardener judge lawyer miller nurse painter pilot "
    "potter sailor singer smith tailor teacher weaver writer"
)
GOODS = _words(
    "apples barrels blankets books bricks candles chairs clocks goats hats horses lamps lanterns nails "
    "pigs ropes shawls sheep shovels sacks tiles wheels"
)
MATERIALS = _words("brick glass iron marble oak stone timber white red green")
BUILDINGS = _words("barn bridge chapel church hall inn library mill school theatre tower windmill")
PRIZES = _words("chess cooking dancing fishing poetry riding rowing running sewing skating spelling swimming")
MONTHS = _words("January February March April May June July August September October November December")

FILLERS = (
    "The winter of {year} was long and dark.",
    "Nobody in {town} remembers it now.",
    "The road was closed for {count} weeks.",
    "A storm passed over {town} on {date}.",
    "The harvest was poor that year.",
    "In {year} the river rose again.",
    "The story was told for many years.",
    "About {count} people lived there at the time.",
)


@dataclass(frozen=True, slots=True)
class Relation:
    """A kind of fact about a person: its slots, how it is stated, asked and used to point at the person.

    `{s}` is the person. `asks` maps a slot (or "s") to questions whose answer it is. `points` says
    who the person is by this fact alone, for questions that take two facts.
    """

    slots: Mapping[str, str]  # slot -> kind of value
    states: tuple[str, ...]
    asks: Mapping[str, tuple[str, ...]]
    points: tuple[str, ...]


RELATIONS: Mapping[str, Relation] = {
    "born": Relation(
        slots={"town": "town", "date": "date", "other": "town"},
        states=(
            "{s} was born in {town} on {date}.",
            "{s} came into the world on {date} in {town}.",
            "Born in {town} on {date}, {s} was a quiet child.",
            "On {date} {s} was born, not in {other} but in {town}.",
        ),
        asks={
            "town": (
                "Where was {s} born?",
                "What is the birthplace of {s}?",
                "In which town did {s} come into the world?",
            ),
            "date": ("When was {s} born?", "On what date was {s} born?", "What is the birthday of {s}?"),
            "s": ("Who was born in {town}?", "Whose birthplace is {town}?", "Who was born on {date}?"),
        },
        points=("the person born in {town}", "the one whose birthplace is {town}"),
    ),
    "lives": Relation(
        slots={"town": "town", "year": "year", "other": "town"},
        states=(
            "{s} has lived in {town} since {year}.",
            "In {year} {s} moved to {town}.",
            "{s} settled in {town} in {year}.",
            "{s} left {other} in {year} and made a home in {town}.",
        ),
        asks={
            "town": ("Where does {s} live?", "In which town did {s} settle?", "What is the home of {s}?"),
            "year": ("In what year did {s} move?", "Since when has {s} had a new home?"),
            "s": ("Who lives in {town}?", "Who moved to {town}?", "Who settled in {town}?"),
        },
        points=("the person who lives in {town}", "the one who moved to {town}"),
    ),
    "works": Relation(
        slots={"job": "job", "town": "town"},
        states=(
            "{s} works as a {job} in {town}.",
            "{s} is a {job} and has a workshop in {town}.",
            "In {town} {s} earns a living as a {job}.",
        ),
        asks={
            "job": ("What is the profession of {s}?", "What does {s} do for a living?", "What job has {s}?"),
            "town": ("Where does {s} work?", "In which town is the workshop of {s}?"),
            "s": ("Who works as a {job}?", "Who is the {job}?", "Who has a job in {town}?"),
        },
        points=("the {job}", "the person who works as a {job}"),
    ),
    "bought": Relation(
        slots={"count": "count", "goods": "goods", "town": "town", "extra": "goods", "few": "count"},
        states=(
            "{s} bought {count} {goods} at the market in {town}.",
            "At the fair in {town} {s} paid for {count} {goods}.",
            "{s} ordered {few} {extra} and {count} {goods} from a dealer in {town}.",
        ),
        asks={
            "count": ("How many {goods} did {s} buy?", "What number of {goods} did {s} order?"),
            "goods": ("What did {s} buy {count} of?", "Which goods did {s} get in {town}?"),
            "town": ("Where did {s} buy {goods}?", "At which market did {s} shop?"),
            "s": ("Who bought {goods}?", "Who paid for {count} {goods}?", "Who ordered the {goods}?"),
        },
        points=("the buyer of the {goods}", "the person who bought {goods}"),
    ),
    "built": Relation(
        slots={"made": "made", "year": "year", "town": "town"},
        states=(
            "{s} built the {made} of {town} in {year}.",
            "The {made} in {town} was put up by {s} in {year}.",
            "In {year} {s} finished the {made} that stands in {town}.",
        ),
        asks={
            "made": ("What did {s} build?", "What did {s} finish in {year}?"),
            "year": ("When was the {made} built?", "In what year did {s} finish building?"),
            "town": ("Where is the {made}?", "Where did {s} build?", "In which town does the {made} stand?"),
            "s": (
                "Who built the {made}?",
                "By whom was the {made} put up?",
                "Who was the builder in {town}?",
            ),
        },
        points=("the builder of the {made}", "the person who put up the {made}"),
    ),
    "won": Relation(
        slots={"prize": "prize", "year": "year", "town": "town"},
        states=(
            "{s} won the {prize} contest of {town} in {year}.",
            "In {year} the {prize} prize in {town} went to {s}.",
            "{s} came first in {prize} at {town} in {year}.",
        ),
        asks={
            "prize": ("Which contest did {s} win?", "In what did {s} come first?"),
            "year": ("When did {s} win?", "In what year was the {prize} prize given?"),
            "town": ("Where was the {prize} contest?", "Where did {s} win a prize?"),
            "s": ("Who won the {prize} contest?", "Who came first in {prize}?", "Who got a prize in {town}?"),
        },
        points=("the winner of the {prize} prize", "the person who came first in {prize}"),
    ),
}
