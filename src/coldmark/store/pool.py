"""Pool expressions: which published runs are rivals. Parsed here, never evaluated; values are SQL parameters.

    accelerator ~ "A100-SXM" and accelerators <= 8 and status in (available, preview) and not power_submission

    expression  = term { "or" term }          term  = factor { "and" factor }
    factor      = "not" factor | "(" expression ")" | field | comparison
    comparison  = field operator value | field [ "not" ] "in" "(" value { "," value } ")"
    operator    = "=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~" (contains) | "!~"

Text is compared without letter case. A run whose field is not published fails every comparison on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NoReturn

from coldmark.core.errors import ConfigError, did_you_mean
from coldmark.core.published import COLUMNS

MAX_LENGTH, MAX_DEPTH = 2000, 40
ALIASES = {"count": "accelerators", "cpu": "processor", "gpu": "accelerator", "metered": "power_submission"}
"""Short names of fields."""

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"[^"]*"|'[^']*')|(?P<op>==|!=|<=|>=|!~|[=<>~(),])|(?P<word>[^\s"'=<>~!(),]+))"""
)
_OPERATORS = {"=": "=", "==": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_KEYWORDS = frozenset({"and", "or", "not", "in"})


@dataclass(frozen=True, slots=True)
class Pool:
    """A condition on rows: SQL with ? for each parameter, and the words it was written in."""

    text: str = ""
    sql: str = "true"
    parameters: tuple[Any, ...] = ()


def parse_pool(text: str, *, where: str = "--pool") -> Pool:
    """A pool from its expression; "" is all. Raises ConfigError with the place and the nearest field."""
    if not text.strip():
        return Pool()
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"longer than {MAX_LENGTH} characters", where=where)
    parser = _Parser(text, where)
    sql = parser.expression(0)
    parser.end()
    return Pool(" ".join(text.split()), sql, tuple(parser.parameters))


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # text, op, word or end
    value: str
    at: int

    @property
    def keyword(self) -> str:
        lower = self.value.lower()
        return lower if self.kind == "word" and lower in _KEYWORDS else ""


class _Parser:
    """Recursive descent over the tokens; conditions come out as SQL, values as parameters."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = text, where
        self.parameters: list[Any] = []
        self._tokens = self._scan()
        self._next = 0

    def _scan(self) -> list[_Token]:
        tokens, at = [], 0
        end = len(self.text.rstrip())
        while at < end:
            match = _TOKEN.match(self.text, at)
            if match is None:
                self._refuse(f"cannot read {self.text[at:].strip()[:20]!r}", at)
            kind = match.lastgroup or ""
            value = match[kind]
            tokens.append(_Token(kind, value[1:-1] if kind == "text" else value, match.start(kind)))
            at = match.end()
        return [*tokens, _Token("end", "", end)]

    def _refuse(self, message: str, at: int, hint: str | None = None) -> NoReturn:
        hint = hint or 'for example: accelerator ~ "A100-SXM" and accelerators = 8 and status = available'
        raise ConfigError(f"{message} (character {at + 1} of {self.text!r})", where=self.where, hint=hint)

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _pop(self) -> _Token:
        token = self._tokens[self._next]
        if token.kind != "end":
            self._next += 1
        return token

    def _expect(self, operator: str) -> None:
        token = self._pop()
        if token.kind != "op" or token.value != operator:
            self._refuse(f"expected {operator!r}, found {token.value or 'the end'!r}", token.at)

    def end(self) -> None:
        """Nothing may follow the expression."""
        token = self._peek()
        if token.kind != "end":
            self._refuse(f"expected 'and', 'or' or the end, found {token.value!r}", token.at)

    def expression(self, depth: int) -> str:
        """Terms joined by `or`."""
        if depth > MAX_DEPTH:
            self._refuse("nested too deeply", self._peek().at)
        terms = [self._term(depth)]
        while self._peek().keyword == "or":
            self._pop()
            terms.append(self._term(depth))
        return terms[0] if len(terms) == 1 else f"({' OR '.join(terms)})"

    def _term(self, depth: int) -> str:
        factors = [self._factor(depth)]
        while self._peek().keyword == "and":
            self._pop()
            factors.append(self._factor(depth))
        return factors[0] if len(factors) == 1 else f"({' AND '.join(factors)})"

    def _factor(self, depth: int) -> str:
        if depth > MAX_DEPTH:
            self._refuse("nested too deeply", self._peek().at)
        token = self._pop()
        if token.keyword == "not":
            return f"(NOT {self._factor(depth + 1)})"
        if token.kind == "op" and token.value == "(":
            inner = self.expression(depth + 1)
            self._expect(")")
            return inner
        if token.kind != "word" or token.keyword:
            self._refuse(f"expected a field, found {token.value or 'the end'!r}", token.at)
        return self._comparison(token)

    def _comparison(self, token: _Token) -> str:
        field = self._field(token)
        kind = COLUMNS[field].split(" ")[0]
        operator = self._peek()
        if operator.keyword == "in":
            self._pop()
            return self._among(field, kind)
        if operator.keyword == "not" and self._tokens[self._next + 1].keyword == "in":
            self._next += 2
            return f"(NOT {self._among(field, kind)})"
        if operator.kind != "op" or operator.value in "(),":
            if kind == "bool":
                return f"coalesce({field}, false)"
            self._refuse(f"expected a comparison after {token.value!r}", operator.at)
        self._pop()
        return self._compare(field, kind, operator)

    def _field(self, token: _Token) -> str:
        name = token.value.lower()
        name = ALIASES.get(name, name)
        if name not in COLUMNS:
            hint = did_you_mean(token.value, [*COLUMNS, *ALIASES])
            self._refuse(f"no field {token.value!r}", token.at, hint)
        return name

    def _compare(self, field: str, kind: str, operator: _Token) -> str:
        value = self._pop()
        if operator.value in ("~", "!~"):
            if kind != "str":
                self._refuse(f"{field} is no text, ~ cannot search it", operator.at)
            self.parameters.append(self._value(value, "str"))
            found = f"coalesce(contains(lower({field}), lower(?)), false)"
            return found if operator.value == "~" else f"(NOT {found})"
        sql = _OPERATORS[operator.value]
        if kind in ("str", "bool") and sql not in ("=", "<>"):
            self._refuse(f"{field} has no order, {operator.value} cannot compare it", operator.at)
        self.parameters.append(self._value(value, kind))
        return self._equal(field, kind, sql)

    def _among(self, field: str, kind: str) -> str:
        self._expect("(")
        options = []
        while True:
            self.parameters.append(self._value(self._pop(), kind))
            options.append(self._equal(field, kind, "="))
            token = self._pop()
            if token.value == ")" and token.kind == "op":
                return f"({' OR '.join(options)})"
            if token.value != "," or token.kind != "op":
                self._refuse(f"expected ',' or ')', found {token.value or 'the end'!r}", token.at)

    @staticmethod
    def _equal(field: str, kind: str, sql: str) -> str:
        if kind == "str":
            return f"coalesce(lower({field}) {sql} lower(?), false)"
        return f"coalesce({field} {sql} ?, false)"

    def _value(self, token: _Token, kind: str) -> Any:
        if token.kind not in ("word", "text") or token.keyword:
            self._refuse(f"expected a value, found {token.value or 'the end'!r}", token.at)
        if kind == "str":
            return token.value
        if kind == "bool":
            if token.value.lower() not in ("true", "false", "yes", "no"):
                self._refuse(f"{token.value!r} is neither true nor false", token.at)
            return token.value.lower() in ("true", "yes")
        try:
            number = float(token.value)
        except ValueError:
            self._refuse(f"{token.value!r} is no number", token.at)
        if number - number != 0:
            self._refuse(f"{token.value!r} is no number", token.at)
        return number
