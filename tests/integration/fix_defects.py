#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Plants one defect in the metadata of a pool that asks for a check, and has it put right.

    fix_defects.py THINP FIXTURES [NAME...]

The defects are those of defects.py and some more. `thinp check --fix-leaks --clear-needs-check` must leave an image with
a fatal finding as it is, byte for byte; else put right all leaks and numbers that are kept twice, and take the mark away if
nothing is left but nodes that are too empty. What is put right must be sound to thin_check 0.9, to thin_check 1.1 (by
THINP_THIN_CHECK_1), and to refcheck, and have the same mappings as before.
"""
import json
import os
import random
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(__file__))
from check_defects import run, witnesses  # noqa: E402
from damage import Image, count, leak_and_bad_leaf, node  # noqa: E402
from defects import DEFECTS  # noqa: E402

REFCHECK = os.path.join(os.path.dirname(__file__), "..", "refcheck", "refcheck")
STAYS = {"N4", "N7"} # these are about the shape of nodes
NO_HARM = {"N7"} # the mark goes all the same
HELD = {"held_mapped_blocks"} # what a metadata snapshot says is not changed
NEEDS_CHECK = 1
NOT_CHANGED = {"version_9", "TOOL_06_file_a_little_short"} # sound, but nobody should write to it


def overflow_count(tree, number):
    """A block in use that is counted far too often."""
    def damage(image):
        leaf = image.leaves(image.sb(tree))[0]
        image.put(leaf, image.value_at(leaf, image.nr(leaf) // 2), number, "I")
    return damage


def many(bitmap, nr_blocks):
    """Every second free block, and some runs: more findings than are told."""
    def damage(image):
        block = bitmap(image)
        chooser = random.Random(1)
        for entry in range(min(nr_blocks(image), 16320)):
            if image.count(block, entry) == 0 and chooser.random() < 0.5:
                image.put_count(block, entry, chooser.choice((1, 1, 2)))
    return damage


def together(*damages):
    def damage(image):
        for one in damages:
            one(image)
    return damage


def too_many_free(image):
    image.put_sb(72, image.sb(72) - 100)


MORE = [
    ("nothing_but_the_mark", "fragmented", lambda image: None),
    ("data_block_counted_2_32_times", "snaps", overflow_count(88, (1 << 32) - 1)),
    ("metadata_block_counted_2_32_times", "snaps", overflow_count(216, (1 << 32) - 1)),
    ("many_data_blocks", "fragmented", many(Image.data_bitmap, lambda image: image.sb(64))),
    ("many_metadata_blocks", "fragmented", many(Image.metadata_bitmap, lambda image: image.sb(192))),
    ("leaks_in_both_maps", "heldroot", together(count(Image.data_bitmap, 0, 2), count(Image.metadata_bitmap, 0, 1))),
    ("leaks_and_a_wrong_sum", "fragmented", together(count(Image.data_bitmap, 0, 1), too_many_free)),
    ("counts_of_the_maps_own_blocks", "fragmented",
     together(lambda image: image.put_count(image.metadata_bitmap(), image.metadata_bitmap(), 2),
              lambda image: image.put_count(image.metadata_bitmap(), image.metadata_index(), 2),
              lambda image: image.put_count(image.metadata_bitmap(), image.data_bitmap(), 2),
              lambda image: image.put_count(image.metadata_bitmap(), image.data_index(), 2))),
    ("TOOL_04_leak_and_a_fatal_finding", "fragmented", leak_and_bad_leaf),
    ("TOOL_05_leaks_in_a_full_pool", "metafull", count(Image.data_bitmap, 1, 2)),
    ("room_for_125_alone", "fragmented", node(Image.details, 20, 125)),
]


def without_flags(text):
    return re.sub(rb' flags="\d+"', b"", text)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def dump(thinp, path):
    return without_flags(run([thinp, "dump"], path)[1])


def check_refused(thinp, path):
    before = read(path)
    status, _, err = run([thinp, "check", "--quiet", "--fix-leaks", "--clear-needs-check"], path)
    if status != 1 or not err:
        yield f"status {status}, {err!r}, though damage was found that cannot be put right"
    if read(path) != before:
        yield "the image was changed"


def witness_complaints(thinp, path, others):
    status, out, _ = run([thinp, "check", "--json"], path)
    left = [f for f in json.loads(out)["findings"] if f["severity"] in ("fatal", "leak", "meta")]
    if status or left:
        yield f"left: {left}"
    if any(f["rule"] == "SB6" for f in json.loads(out)["findings"]):
        yield "the mark is still there"
    for witness, _, command in others:
        if run(command, path)[0]:
            yield f"{witness} is not content"
    if subprocess.run([REFCHECK, "-q", path], stdout=subprocess.PIPE).returncode:
        yield "refcheck is not content"


def check_put_right(thinp, path, others, rules, stays):
    mapped_is_wrong = "D2" in rules
    before = None if mapped_is_wrong else dump(thinp, path)
    status, out, err = run([thinp, "check", "--json", "--fix-leaks", "--clear-needs-check"], path)
    result = json.loads(out)
    if stays:
        keeps_mark = stays != NO_HARM
        if status != 1 or result["left"]["nr_leak"] or not result["left"]["nr_meta"]:
            yield f"status {status}, {err!r}, though {rules} stay; {result['left']}"
        if result["needs_check_cleared"] == keeps_mark or bool(Image(read(path)).sb(4, "I")) != keeps_mark:
            yield f"the mark is {'not ' if keeps_mark else ''}there, though {rules} stay"
        if before is not None and dump(thinp, path) != before:
            yield "the mappings are not what they were"
        return
    if status or err or not result["needs_check_cleared"] or result["left"]["is_damaged"]:
        yield f"status {status}, {err!r}, {result['findings'][:3]}, {result['left']}"
        return
    if before is not None and dump(thinp, path) != before:
        yield "the mappings are not what they were"
    yield from witness_complaints(thinp, path, others)


def complaints(name, image, path, thinp, others):
    image.put_sb(4, image.sb(4, "I") | NEEDS_CHECK, "I")
    with open(path, "wb") as file:
        file.write(image.data)
    _, out, _ = run([thinp, "check", "--json"], path)
    findings = json.loads(out)["findings"]
    if name in NOT_CHANGED or any(finding["severity"] == "fatal" for finding in findings):
        yield from check_refused(thinp, path)
    else:
        rules = {f["rule"] for f in findings if f["severity"] in ("leak", "meta")}
        yield from check_put_right(thinp, path, others, rules, {"D2"} if name in HELD else rules & STAYS)


def planted():
    """Of the defects that are fatal by the same rule the first: all are refused in the same way."""
    seen = set()
    for name, fixture, damage, broken, *_ in DEFECTS:
        fatal = {rule for rule, severity in broken if severity == "fatal"}
        if not fatal or fatal - seen:
            yield name, fixture, damage
        seen |= fatal


def main():
    thinp, fixtures, names = sys.argv[1], sys.argv[2], sys.argv[3:]
    others = witnesses()
    print("older checkers:", ", ".join(name for name, *_ in others) or "none")
    failures = nr = 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "image")
        for name, fixture, damage in [*planted(), *MORE]:
            if (names and name not in names) or name in ("superblock_checksum", "never_formatted"): # no mark to be set
                continue
            image = Image(read(os.path.join(fixtures, f"kernel-{fixture.replace('datafull_small', 'heldroot')}.meta")))
            damage(image)
            nr += 1
            for complaint in complaints(name, image, path, thinp, others):
                failures += 1
                print(f"{name}: {complaint}")
    print(f"{nr} defects, {failures} complaints")
    return failures != 0


if __name__ == "__main__":
    sys.exit(main())
