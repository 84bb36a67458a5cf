"""Progress on stderr: a live line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from coldmark.loadgen.progress import Phase
from coldmark.runs.execute import OnTick, Tick

WORDS = {
    Phase.STARTING: "starting",
    Phase.LOADING: "loading model and samples",
    Phase.WARMING: "warming up",
    Phase.BARE: "measuring the bare rate",
    Phase.RUNNING: "LoadGen runs",
    Phase.CLOSING: "closing",
    Phase.DONE: "done",
}
PLAIN_EVERY_S = 15.0
LIVE_HZ = 2
"""The terminal is redrawn no oftener: drawing takes processor time from what is measured."""


def tick_text(tick: Tick) -> str:
    """`performance: LoadGen runs, 34 %, 12 s left, 3 400 samples`."""
    parts = [f"{tick.mode.value}: {WORDS[tick.phase]}"]
    if tick.phase is Phase.RUNNING:
        if tick.done is not None:
            parts.append(f"{tick.done:.0%}")
        if tick.left_s is not None:
            parts.append(left_text(tick.left_s))
        parts.append(f"{tick.samples:,} samples".replace(",", " "))
    return ", ".join(parts)


def left_text(seconds: float) -> str:
    """Time left, no finer than it can be known."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h left"
    return f"{seconds / 60:.0f} min left" if seconds >= 120 else f"{seconds:.0f} s left"


@contextmanager
def progress(label: str) -> Iterator[OnTick]:
    """Show ticks while the block runs."""
    if sys.stderr.isatty():
        with _live(label) as on_tick:
            yield on_tick
    else:
        yield plain(label)


@contextmanager
def _live(label: str) -> Iterator[OnTick]:
    from rich.console import Console
    from rich.status import Status

    with Status(f"{label}: starting", console=Console(stderr=True), refresh_per_second=LIVE_HZ) as status:
        yield lambda tick: status.update(f"{label}  {tick_text(tick)}")


def plain(label: str) -> OnTick:
    """Ticks as lines, one now and then."""
    last: list[object] = [None, 0.0]

    def on_tick(tick: Tick) -> None:
        now = time.monotonic()
        step = (tick.mode, tick.phase)
        if step == last[0] and now - float(last[1]) < PLAIN_EVERY_S:  # type: ignore[arg-type]
            return
        last[:] = step, now
        if tick.phase in (Phase.LOADING, Phase.RUNNING):
            print(f"{label}  {tick_text(tick)}", file=sys.stderr, flush=True)  # noqa: T201

    return on_tick


@contextmanager
def live_text() -> Iterator[Callable[[str], None]]:
    """A text on stderr's terminal that is redrawn in place when it is given, and gone at the end."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        yield lambda text: live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)


@contextmanager
def saying(label: str) -> Iterator[Callable[[str], None]]:
    """Steps on stderr: one live line on a terminal; elsewhere a line a step, of long ones more.

    What stands before the first comma of a text is its step.
    """
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.status import Status

        with Status(f"{label}: starting", console=Console(stderr=True), refresh_per_second=LIVE_HZ) as status:
            yield lambda text: status.update(f"{label}  {text}")
        return
    last: list[object] = ["", 0.0]

    def say(text: str) -> None:
        step, now = text.partition(",")[0], time.monotonic()
        if step != last[0] or now - float(last[1]) > PLAIN_EVERY_S:  # type: ignore[arg-type]
            last[:] = step, now
            print(f"{label}  {text}", file=sys.stderr, flush=True)  # noqa: T201

    yield say
