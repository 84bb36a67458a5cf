"""The manifest of a tree that was built here: what it is made of, and sha256 of every file in it.

It lies beside `results/`, where no checker of a round looks. A tree whose runs are shorter than the round's
says so in it, and is then checked against the length it says, openly not eligible for publication.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field

from coldmark.core.codec import from_plain
from coldmark.core.errors import ColdmarkError
from coldmark.core.nouns import Length, Severity
from coldmark.submission.findings import Findings
from coldmark.submission.texts import read_object
from coldmark.submission.tree import Tree, Unreadable, open_plain

NAME = "coldmark-manifest.json"
CLAUSE = "coldmark: docs/decisions/0007-submission-check.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a tree of ours says of itself. Paths are below the submitter's folder."""

    schema: int = 1
    round: str
    division: str
    submitter: str
    length: Length
    eligible: bool  # whether the round would take it, as far as the builder knows
    why_not: tuple[str, ...] = ()
    runs: dict[str, str] = field(default_factory=dict)  # results folder -> run id
    models: dict[str, str] = field(default_factory=dict)  # model folder -> the round's benchmark
    full_accuracy_logs: dict[str, str] = field(default_factory=dict)  # cut log -> sha256 of the whole one
    sha256: dict[str, str] = field(default_factory=dict)
    software: dict[str, str] = field(default_factory=dict)


def read_manifest(tree: Tree, above: str, findings: Findings) -> Manifest | None:
    """The manifest of a submitter's folder; None where there is none, or none that can be read."""
    path = f"{above}/{NAME}"
    if not tree.has(path):
        return None
    try:
        return from_plain(read_object(tree, path).data, Manifest, where=path)
    except (Unreadable, ColdmarkError) as error:
        findings.add(path, "manifest.text", "a manifest", error, CLAUSE)
        return None


def check_files(tree: Tree, above: str, manifest: Manifest, findings: Findings) -> None:
    """Every file is there, as the manifest says, and no other is."""
    found = {
        f"{folder}/{name}".removeprefix(above + "/")
        for folder in tree.under(above)
        for name in tree.folders[folder].files
    }
    found.discard(NAME)
    for name in sorted(found - set(manifest.sha256)):
        findings.add(
            f"{above}/{name}", "manifest.extra", "only files of the manifest", "another file", CLAUSE
        )
    for name, expected in sorted(manifest.sha256.items()):
        if name not in found:
            findings.add(
                f"{above}/{name}", "manifest.missing", "a file of the manifest", "no such file", CLAUSE
            )
            continue
        digest = digest_of(tree, f"{above}/{name}")
        if digest != expected:
            findings.add(f"{above}/{name}", "manifest.changed", f"sha256 {expected}", digest, CLAUSE)


def digest_of(tree: Tree, path: str) -> str:
    """sha256 of a file of the tree, or why there is none."""
    try:
        handle = open_plain(tree, path)
    except Unreadable as error:
        return str(error)
    with os.fdopen(handle, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_claims(above: str, manifest: Manifest, division: str, findings: Findings, round_: str) -> None:
    """What the manifest says of eligibility is said again, where it can be read."""
    path = f"{above}/{NAME}"
    if manifest.round != round_:
        findings.add(path, "manifest.round", round_, manifest.round, CLAUSE)
    if manifest.division != division:
        findings.add(path, "manifest.division", division, manifest.division, CLAUSE)
    short = manifest.length is not Length.OFFICIAL
    if division != "open" and (short or not manifest.eligible):
        why = "; ".join(manifest.why_not) or f"length {manifest.length}"
        findings.add(path, "manifest.closed", "runs of the official length and files", why, CLAUSE)
    elif not manifest.eligible:
        why = "; ".join(manifest.why_not) or "it says so"
        findings.add(path, "manifest.eligible", "a tree the round takes", why, CLAUSE, Severity.WARNING)
