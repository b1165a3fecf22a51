# SPDX-License-Identifier: BSD-3-Clause
"""The source tree as the checks see it: its files, its rooms, its text without comments."""
import os
import re
import subprocess

NOT_SOURCES = {".git", "build", "__pycache__", ".cache"}


class Skip(Exception):
    """A check cannot run here; the text says why."""


class Room:
    """One line of src/ROOMS."""

    def __init__(self, name, below, headers):
        self.name, self.below, self.headers = name, below, headers

    def may_use(self, other):
        return other in (self.name, "base") or other in self.below


def read_rooms(text):
    """The rooms in their order, as a dict from name to Room."""
    rooms = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            name, below, headers = (field.strip() for field in line.split(":"))
            rooms[name] = Room(name, below.split(), headers.split())
    return rooms


def without_comments(text):
    """The text with comments blanked out, line ends kept. Strings are left alone."""
    pattern = r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|/\*.*?\*/|//[^\n]*'

    def blank(match):
        found = match.group(0)
        return found if found[0] in "\"'" else "\n" * found.count("\n") or " "

    return re.sub(pattern, blank, text, flags=re.S)


class Tree:
    def __init__(self, root, build=None):
        self.root = os.path.abspath(root)
        self.build = build and os.path.abspath(build)
        self._files = None

    def path(self, name):
        return os.path.join(self.root, name)

    def exists(self, name):
        return os.path.exists(self.path(name))

    def read(self, name):
        with open(self.path(name), encoding="utf-8", errors="replace") as file:
            return file.read()

    def rooms(self):
        return read_rooms(self.read("src/ROOMS"))

    def files(self, pattern="."):
        """Names of the tree's files that match a regular expression, sorted."""
        if self._files is None:
            self._files = sorted(self._from_git() or self._from_disk())
        return [name for name in self._files if re.search(pattern, name)]

    def _from_git(self):
        """What git knows or would add; nothing when this is not a checkout of its own."""
        command = ["git", "-C", self.root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        if not os.path.exists(self.path(".git")):
            return []
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return []
        return [name for name in done.stdout.split("\0") if name and os.path.isfile(self.path(name))]

    def _from_disk(self):
        found = []
        for folder, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders if name not in NOT_SOURCES]
            found += [os.path.relpath(os.path.join(folder, name), self.root) for name in names]
        return found
