"""A submission's tree as it lies on disk: walked with bounds, read without following anything out of it.

A link, a device, a name that is no name, a folder too deep are findings; the rest of the tree is read on.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from coldmark.core.errors import DataError
from coldmark.submission.findings import Findings

MAX_FILES = 2_000_000
"""The largest round published holds 149 835."""
MAX_DEPTH = 24
"""Folders below the root; results lie 8 deep, code of a submitter a few more."""
MAX_NAME = 200
MAX_TEXT_BYTES = 16 << 20
"""Of a text that is read whole; the largest published one is below 1 MB."""

SAFE = "coldmark: a tree is plain files and folders with plain names"


@dataclass(slots=True)
class Folder:
    """What lies in a folder: files with their sizes [bytes], and folders by name."""

    files: dict[str, int] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Tree:
    """A walked tree. Paths are below the root with "/" between; the root itself is ""."""

    root: str
    folders: dict[str, Folder] = field(default_factory=dict)
    files: int = 0
    bytes: int = 0
    seen: int = 0  # files and folders

    def get(self, path: str) -> Folder | None:
        """The folder at a path, or None."""
        return self.folders.get(path)

    def below(self, path: str) -> list[str]:
        """Names of the folders in a folder, sorted."""
        folder = self.folders.get(path)
        return folder.folders if folder else []

    def drop(self, top: str) -> None:
        """Forget a folder and all below it: a round's tree is looked at submitter by submitter."""
        for path in list(self.under(top)):
            del self.folders[path]

    def has(self, path: str) -> bool:
        """Whether a plain file lies there."""
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """A file's size as it was walked; None where there is none."""
        above, _, name = path.rpartition("/")
        folder = self.folders.get(above)
        return None if folder is None else folder.files.get(name)

    def part(self, *tops: str) -> Tree:
        """The folders at and below some paths: what a worker needs of it."""
        return Tree(
            root=self.root, folders={path: self.folders[path] for top in tops for path in self.under(top)}
        )

    def under(self, top: str) -> Iterator[str]:
        """The folder at a path and all below it."""
        waiting = [top] if top in self.folders else []
        while waiting:
            path = waiting.pop()
            yield path
            children = (f"{path}/{name}" for name in self.folders[path].folders)
            waiting += [child for child in children if child in self.folders]


def open_tree(root: Path, findings: Findings) -> Tree:
    """A tree of which only the root's own entries were read. Raises DataError where it is no folder."""
    if not root.is_dir():
        raise DataError("no such folder", where=str(root), hint="give the folder that holds closed/ or open/")
    tree = Tree(root=str(root))
    tree.folders[""] = _read_folder(tree, "", findings)
    tree.files = len(tree.folders[""].files)
    return tree


def walk(tree: Tree, top: str, findings: Findings, *, deep: bool = True) -> None:
    """Read a folder of the tree, and unless told otherwise all below it.

    Raises DataError where the tree holds more than any does.
    """
    waiting = [top]
    while waiting:
        path = waiting.pop()
        folder = tree.folders[path] = _read_folder(tree, path, findings)
        tree.files += len(folder.files)
        tree.seen += 1 + len(folder.files)
        tree.bytes += sum(folder.files.values())
        if tree.seen > MAX_FILES:
            raise DataError(f"holds more than {MAX_FILES} files", where=tree.root, hint="no tree is so large")
        if path.count("/") >= MAX_DEPTH and folder.folders:
            findings.add(path, "tree.depth", f"at most {MAX_DEPTH} folders deep", "deeper, not read", SAFE)
        elif deep:
            waiting += [f"{path}/{name}" for name in reversed(folder.folders)]


def _read_folder(tree: Tree, path: str, findings: Findings) -> Folder:
    folder = Folder()
    try:
        with os.scandir(os.path.join(tree.root, path)) as entries:  # noqa: PTH118
            for entry in entries:
                _take(entry, path, folder, findings)
    except OSError as error:
        findings.add(path, "tree.readable", "a readable folder", error.strerror or error, SAFE)
    folder.folders.sort()
    return folder


def _take(entry: os.DirEntry[str], path: str, folder: Folder, findings: Findings) -> None:
    where = f"{path}/{entry.name}" if path else entry.name
    if entry.is_symlink():
        findings.add(where, "tree.link", "a plain file or folder", "a link, not followed", SAFE)
        return
    if (odd := _odd(entry.name)) and not (path == "" and entry.name == ".git"):
        findings.add(where, "tree.name", "a plain name", odd, SAFE)
    if entry.is_dir(follow_symlinks=False):
        if entry.name not in (".git", ".github"):
            folder.folders.append(entry.name)
        return
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError as error:
        findings.add(where, "tree.readable", "a readable file", error.strerror or error, SAFE)
        return
    if not stat.S_ISREG(found.st_mode):
        findings.add(where, "tree.special", "a plain file", "a device, pipe or socket, not opened", SAFE)
        return
    folder.files[entry.name] = found.st_size


def _odd(name: str) -> str:
    if len(name) > MAX_NAME:
        return f"{len(name)} characters"
    if not name.isprintable():
        return "control characters, or bytes that are no UTF-8"
    if "\\" in name:
        return "a backslash"
    return "blanks at an end" if name != name.strip() else ""


class Unreadable(Exception):
    """A file that cannot be read as wanted; the text says why."""


def open_plain(tree: Tree, path: str) -> int:
    """A descriptor of a plain file of the tree. Raises Unreadable; nothing is followed or waited for."""
    full = os.path.join(tree.root, path)  # noqa: PTH118
    try:
        handle = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Unreadable("no plain file")
    return handle


def read_bytes(tree: Tree, path: str, limit: int = MAX_TEXT_BYTES) -> bytes:
    """The bytes of a file. Raises Unreadable where it is larger than the limit."""
    handle = open_plain(tree, path)
    with os.fdopen(handle, "rb", buffering=0) as file:
        try:
            data = bytearray()
            while len(data) <= limit and (piece := file.read(limit + 1 - len(data))):
                data += piece
        except OSError as error:
            raise Unreadable(error.strerror or str(error)) from None
    if len(data) > limit:
        raise Unreadable(f"larger than {limit} bytes, not read")
    return bytes(data)


def read_text(tree: Tree, path: str) -> str:
    """A UTF-8 text. Raises Unreadable for any other bytes, and for a byte-order mark."""
    data = read_bytes(tree, path)
    if data.startswith(b"\xef\xbb\xbf"):
        raise Unreadable("begins with a byte-order mark (BOM)")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8 at byte {error.start}") from None
