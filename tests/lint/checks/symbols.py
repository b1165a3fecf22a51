# SPDX-License-Identifier: BSD-3-Clause
"""The functions marked THINP_API (or TP_PRIVATE_API), the symbol maps and the built libraries say the same."""
import os
import re
import subprocess

from .tree import Skip, without_comments

LIBRARIES = ["libthinp", "libthinp-check"]
ROOMS_OF_CHECK = {"check"} # all others are libthinp proper


def declared(text, mark="THINP_API"):
    """Names of the functions that a header marks so."""
    code = re.sub(r"^[ \t]*#.*$", "", without_comments(text), flags=re.M)
    return set(re.findall(rf"\b{mark}\b[^;{{(]*?\b(\w+)\s*\(", code))


def listed(text):
    """{node: names} of a version script."""
    nodes = {}
    for node, body in re.findall(r"(\w[\w.]*)\s*\{(.*?)\}", without_comments(text), flags=re.S):
        exported = re.search(r"global:(.*?)(?:local:|$)", body, flags=re.S)
        nodes[node] = set(re.findall(r"([^\s;]+)\s*;", exported.group(1))) if exported else set()
    return nodes


def exported(nm, library):
    """{name: node} of what a shared library exports."""
    done = subprocess.run([nm, "-D", "--defined-only", library], capture_output=True, text=True, check=True)
    names = {}
    for line in done.stdout.splitlines():
        _, kind, name = line.split(None, 2)
        name, _, node = name.partition("@")
        if kind != "A": # the nodes themselves
            names[name] = node.lstrip("@")
    return names


def global_names(nm, archive):
    done = subprocess.run([nm, "--defined-only", "--extern-only", archive], capture_output=True, text=True, check=True)
    return {fields[2] for fields in map(str.split, done.stdout.splitlines()) if len(fields) == 3}


def differences(where, have, source, want):
    for name in sorted(set(want) - set(have)):
        yield f"{where}: lacks {name}, which is in {source}"
    for name in sorted(set(have) - set(want)):
        yield f"{where}: has {name}, which is not in {source}"


def declared_by(tree, library):
    rooms, ours = tree.rooms(), set()
    for room in rooms.values():
        if (room.name in ROOMS_OF_CHECK) == (library == "libthinp-check"):
            for header in room.headers:
                ours |= declared(tree.read(f"include/thinp/{header}"))
    return ours


def check_map(tree, library):
    """The map against the headers and against the version."""
    script = f"src/{library}.map"
    nodes = listed(tree.read(script))
    version = dict(re.findall(r"define THINP_VERSION_(\w+) (\d+)", tree.read("include/thinp/version.h")))
    public = "LIBTHINP_{MAJOR}.{MINOR}".format(**version)
    private = "LIBTHINP_PRIVATE_{MAJOR}.{MINOR}.{PATCH}".format(**version)
    names = [name for node in nodes for name in nodes[node] if node != private]
    yield from differences(script, names, "the public headers", declared_by(tree, library))
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{script}: lists {name} twice"
    if public not in nodes:
        yield f"{script}: has no node {public}, although version.h says so"
    if library == "libthinp":
        marked = [declared(tree.read(name), "TP_PRIVATE_API") for name in tree.files(r"^src/.*\.h$")]
        yield from differences(f"{script}, {private}", nodes.get(private, ()), "the private headers", set().union(*marked))


def check_library(tree, library):
    """The built library against the map."""
    script, nm = f"src/{library}.map", os.environ.get("NM", "nm")
    shared, archive = (os.path.join(tree.build, "src", library + end) for end in (".so", ".a"))
    wanted = {name: node for node, names in listed(tree.read(script)).items() for name in names}
    have = exported(nm, shared)
    yield from differences(f"{library}.so", have, script, wanted)
    for name in sorted(name for name in wanted if have.get(name, wanted[name]) != wanted[name]):
        yield f"{library}.so: {name} is in the node {have[name]}, not {wanted[name]}"
    if os.environ.get("THINP_HIDE_STATIC", "ON") == "ON":
        yield from differences(f"{library}.a", global_names(nm, archive), script, wanted)


def check(tree):
    for library in LIBRARIES:
        yield from check_map(tree, library)
    if tree.build is None:
        raise Skip("no build folder given, so the built libraries were not looked at")
    for library in LIBRARIES:
        yield from check_library(tree, library)
