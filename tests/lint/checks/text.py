# SPDX-License-Identifier: BSD-3-Clause
"""Licence lines, words that do not belong into the tree, lengths, layout, links."""
import os
import re
import shutil
import subprocess
import textwrap

from .tree import Skip, without_comments

SOURCES = r"(\.(c|h|cc|py|sh|cmake|map|in|1|3)|CMakeLists\.txt|Doxyfile)$"
MAX_FUNCTION, MAX_FILE = 60, 600
CLANG_FORMAT = "14"

# Written so that no pattern finds itself here.
WORDS = {
    r"(?<![\w.~/-])/(wor[k]|hom[e]|roo[t]|User[s])/": "is a path of one machine",
    r"\.\./share[d]\b": "points out of the project",
    r"\b(deb\.debia[n]|archive\.ubunt[u]|pypi|files\.pythonhoste[d]|registry\.npmj[s]|crate[s]|proxy\.golan[g])\.(org|com|io)\b":
        "is the host of a package registry",
    r"\b(TOD[O]|FIXM[E]|XX[X])\b": "marks unfinished work",
}


def is_script(tree, name):
    return "." not in os.path.basename(name) and tree.read(name).startswith("#!")


def check_spdx(tree):
    for name in tree.files():
        if re.search(SOURCES, name) or is_script(tree, name):
            if not any("SPDX-License-Identifier: BSD-3-Clause" in line for line in tree.read(name).splitlines()[:3]):
                yield f"{name}: has no SPDX line among its first three"


def check_words(tree):
    for name in tree.files():
        text = tree.read(name)
        if "\0" in text:
            continue
        for pattern, why in WORDS.items():
            for match in re.finditer(pattern, text):
                yield f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group(0)} {why}"


def functions(text):
    """(first line, number of lines) of every function: from a { in the first column to the next } there."""
    begin = None
    for number, line in enumerate(text.splitlines(), 1):
        if line == "{":
            begin = number
        elif line.startswith("}") and begin:
            yield begin, number - begin + 1
            begin = None


def check_lengths(tree):
    for name in tree.files(r"^src/.*\.[ch]$"):
        text = tree.read(name)
        if text.count("\n") > MAX_FILE:
            yield f"{name}: has {text.count(chr(10))} lines, more than {MAX_FILE}"
        for begin, length in functions(text):
            if length > MAX_FUNCTION:
                yield f"{name}:{begin}: a function of {length} lines, more than {MAX_FUNCTION}"


def check_layouts(tree):
    """Every struct that a public header lays open has its size written down in the header."""
    for name in tree.files(r"^include/thinp/.*\.h$"):
        text = without_comments(tree.read(name))
        for struct in re.findall(r"^struct\s+(\w+)\s*\{", text, flags=re.M):
            if not re.search(rf"static_assert\([^;]*sizeof\(struct {struct}\) == \d+", text):
                yield f"{name}: no static_assert tells the size of struct {struct}"


def clang_format():
    """The program at the version that the project is formatted with."""
    for program in (f"clang-format-{CLANG_FORMAT}", "clang-format"):
        if shutil.which(program):
            said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
            if re.search(rf"version {CLANG_FORMAT}\.", said):
                return program
    raise Skip(f"clang-format {CLANG_FORMAT}, which the project is formatted with, is not installed")


def check_format(tree):
    names = tree.files(r"^(src|include|tests|docs|bench|bindings)/.*\.(c|h|cc)$")
    command = [clang_format(), "--dry-run", "-Werror", "--ferror-limit=1", *names]
    done = subprocess.run(command, cwd=tree.root, capture_output=True, text=True)
    for line in done.stderr.splitlines():
        if "error:" in line:
            yield line


def check_links(tree):
    """What the Markdown files point to is there."""
    for name in tree.files(r"\.md$"):
        for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", tree.read(name)):
            if not re.match(r"[a-z]+:", target) and not tree.exists(os.path.join(os.path.dirname(name), target)):
                yield f"{name}: links to {target}, which is not there"


def check_api(tree):
    """The first page of the reference names every public header."""
    text = tree.read("docs/api.md")
    for name in tree.files(r"^include/thinp/.*\.h$"):
        if name[len("include/"):] not in text:
            yield f"docs/api.md: does not name {name[len('include/'):]}"


def options_of(code):
    """The flags and the fields of options that say how to open something; but for the size, and the contexts of callbacks."""
    yield from re.findall(r"^#define (THINP_(?:IO|BM|STORE|POOL)_\w+)\s+\d+u? /\*\*< flag", code, flags=re.M)
    code = re.sub(r"/\*.*?\*/", "", code, flags=re.S)
    for body in re.findall(r"^struct thinp_(?:io|bm|store|pool)_opts \{(.*?)^\};", code, flags=re.S | re.M):
        for callback, field in re.findall(r"(?:\(\*(\w+)\)\([^)]*\)|(\w+));", body):
            name = callback or field
            if name not in ("size", "flags") and not name.endswith("_ctx"):
                yield name


def check_options(tree):
    """The page on choosing how to open describes every flag and option."""
    text = tree.read("docs/choosing.md")
    for name in tree.files(r"^include/thinp/.*\.h$"):
        for option in options_of(tree.read(name)):
            if f"`{option}`" not in text and f"::{option}`" not in text:
                yield f"docs/choosing.md: does not describe {option} of {name[len('include/'):]}"


def check_readme(tree):
    """The C of the README is the marked part of an example that is built and run by the tests."""
    example = "docs/examples/make_pool.c"
    shown = re.search(r"^```c\n(.*?)^```", tree.read("README.md"), flags=re.S | re.M)
    marked = re.search(r"/\* README begin \*/\n(.*?)^[ \t]*/\* README end \*/", tree.read(example), flags=re.S | re.M)
    if not shown or not marked:
        yield f"README.md: no C block, or {example}: no part between README begin and README end"
    elif shown.group(1) != textwrap.dedent(marked.group(1)).expandtabs(8):
        yield f"README.md: the C block differs from the marked part of {example}"
