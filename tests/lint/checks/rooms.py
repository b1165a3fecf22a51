# SPDX-License-Identifier: BSD-3-Clause
"""Direct includes obey src/ROOMS; the tools and the examples, and all others above, use public headers only."""
import os
import re

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.M)
PUBLIC_ONLY = r"^(src/tools|src/nbdkit|docs/examples|tests/install)/.*\.[ch]$"


def includes(tree, name):
    """(line number, is quoted, file) of every include of a file."""
    text = tree.read(name)
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group(1) == '"', match.group(2)


def check_table(tree, rooms):
    seen, owner = [], {}
    for room in rooms.values():
        for below in room.below:
            if below not in seen:
                yield f"src/ROOMS: {room.name} stands on {below}, which is not a room below it"
        seen.append(room.name)
        for header in room.headers:
            if header in owner:
                yield f"src/ROOMS: {header} belongs to both {owner[header]} and {room.name}"
            owner[header] = room.name
            if not tree.exists(f"include/thinp/{header}"):
                yield f"src/ROOMS: include/thinp/{header} does not exist"
    for name in tree.files(r"^include/thinp/.*\.h$"):
        if os.path.basename(name) not in owner:
            yield f"{name}: belongs to no room of src/ROOMS"
    for name in tree.files(r"^src/[^/]+/.*\.[ch]$"):
        if name.split("/")[1] not in rooms and not re.search(PUBLIC_ONLY, name):
            yield f"{name}: its folder is no room of src/ROOMS"


def refusal(tree, rooms, name, room, quoted, target):
    """Why a file of a room (None: public headers only) may not include the target; None when it may."""
    if not quoted:
        if not target.startswith("thinp/"):
            return None
        owner = next((r.name for r in rooms.values() if target[len("thinp/"):] in r.headers), None)
        if owner is None:
            return "belongs to no room"
        return None if room is None or room.may_use(owner) else f"is of the room {owner}, which is not below {room.name}"
    if target.startswith("../") or "/../" in target:
        return "climbs out of its folder"
    if "/" not in target:
        beside = os.path.join(os.path.dirname(name), target)
        return None if tree.exists(beside) else "does not lie beside the file"
    owner = target.split("/")[0]
    if room is None:
        return None if f"src/{owner}" == os.path.dirname(name) else "is not a public header"
    if owner not in rooms:
        return "is of no room"
    return None if room.may_use(owner) else f"is of the room {owner}, which is not below {room.name}"


def check(tree):
    rooms = tree.rooms()
    yield from check_table(tree, rooms)
    owners = {f"include/thinp/{header}": room for room in rooms.values() for header in room.headers}
    for name in tree.files(r"\.[ch]$"):
        room = owners.get(name)
        if re.search(PUBLIC_ONLY, name):
            room = None
        elif name.startswith("src/"):
            room = rooms.get(name.split("/")[1])
            if room is None:
                continue
        elif room is None:
            continue
        for line, quoted, target in includes(tree, name):
            why = refusal(tree, rooms, name, room, quoted, target)
            if why is None and quoted and name.startswith("include/"):
                why = "is quoted; public headers include only <thinp/...> and what the system has"
            if why:
                yield f"{name}:{line}: {target} {why}"
