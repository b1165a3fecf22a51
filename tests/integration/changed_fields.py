#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Changes one field of a pool's metadata, makes the checksum right again, and looks at what `thinp dump` makes of it.

    changed_fields.py THINP IMAGE... [--cases N] [--seed S]

It must refuse with a sentence, or print exactly what the field now says. What it says is found out by a second reader
(tests/witness/metadata.py) and, when it takes the image, by thin_dump 0.9.0. Never a crash or a hang.
"""
import argparse
import collections
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "witness"))
import metadata  # noqa: E402

NODE_FIELDS = [("flags", 4, 4), ("nr_entries", 16, 4), ("max_entries", 20, 4), ("value_size", 24, 4), ("padding", 28, 4)]
SUPERBLOCK_FIELDS = [
    ("flags", 4, 4), ("magic", 32, 8), ("version", 40, 4), ("time", 44, 4), ("transaction_id", 48, 8),
    ("held_root", 56, 8), ("data.nr_blocks", 64, 8), ("data.nr_allocated", 72, 8), ("data.index", 80, 8),
    ("data.overflow", 88, 8), ("metadata.nr_blocks", 192, 8), ("metadata.nr_allocated", 200, 8),
    ("metadata.index", 208, 8), ("metadata.overflow", 216, 8), ("mapping_root", 320, 8), ("details_root", 328, 8),
    ("data_block_size", 336, 4), ("metadata_block_size", 340, 4), ("metadata_nr_blocks", 344, 8),
    ("compat", 352, 4), ("compat_ro", 356, 4), ("incompat", 360, 4), ("tail", 400, 8)]


def choose_field(rng, block, kind):
    """(name, offset, size) of a field that means something."""
    if kind == "superblock":
        return rng.choice(SUPERBLOCK_FIELDS)
    _, _, count, capacity, size = struct.unpack_from("<IQIII", block, 4)
    what = rng.choice(["header", "key", "value"]) if count else "header"
    if what == "header":
        return rng.choice(NODE_FIELDS)
    i = rng.choice([0, count - 1, rng.randrange(count)])
    if what == "key":
        return "key", 32 + 8 * i, 8
    return "value", 32 + 8 * capacity + size * i, min(size, 8)


def choose_value(rng, old, size):
    top = (1 << 8 * size) - 1
    return rng.choice([0, 1, 2, 3, top, top - 1, top >> 1, (old + 1) & top, (old - 1) & top, old ^ 1 << rng.randrange(8 * size),
                       rng.randrange(top + 1), rng.randrange(300), rng.randrange(1 << 24, 1 << 25) & top])


def run(command, path):
    """(status, output, message); a hang shows as status 'hang'."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command + [path], stdout=out, stderr=err)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return "hang", b"", ""
        out.seek(0)
        err.seek(0)
        return process.returncode, out.read(), err.read().decode(errors="replace")


def expected(image_bytes):
    try:
        return metadata.dump(metadata.Image(image_bytes)).encode()
    except (IndexError, KeyError, struct.error, metadata.TooDeep, RecursionError) as error:
        return f"unreadable: {error!r}".encode()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("thinp")
    parser.add_argument("images", nargs="+")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--verbose", action="store_true", help="list what thin_dump took and thinp refused")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("THINP_TEST_SEED", random.randrange(1 << 32))))
    args = parser.parse_args()
    print(f"seed {args.seed}: set THINP_TEST_SEED to repeat")
    rng = random.Random(args.seed)
    thin_dump = shutil.which("thin_dump", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not thin_dump:
        print("thin_dump is missing: only the second reader is asked")
    ours = [args.thinp, "dump", "--cache-size", "4"]
    failures = 0
    counts = collections.Counter()
    stricter = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        for name in args.images:
            with open(name, "rb") as file:
                healthy = file.read()
            image = metadata.Image(healthy)
            metadata.dump(image)
            blocks = sorted(image.blocks_read)
            path = os.path.join(folder, "image")
            with open(path, "wb") as file:
                file.write(healthy)
            for _ in range(args.cases // len(args.images)):
                number = rng.choice([0, rng.choice(blocks), rng.choice(blocks), rng.choice(blocks)])
                block = bytearray(healthy[number * 4096:number * 4096 + 4096])
                kind = metadata.kind_of(block)
                field, offset, size = choose_field(rng, block, kind)
                old = int.from_bytes(block[offset:offset + size], "little")
                new = choose_value(rng, old, size)
                if new == old:
                    continue
                block[offset:offset + size] = new.to_bytes(size, "little")
                metadata.seal(block, kind)
                with open(path, "r+b") as file:
                    file.seek(number * 4096)
                    file.write(block)
                case = f"{os.path.basename(name)}: block {number} ({kind}), {field} {old} -> {new}"
                status, output, message = run(ours, path)
                complaint = None
                changed = healthy[:number * 4096] + bytes(block) + healthy[number * 4096 + 4096:]
                if status == 1:
                    counts["refused"] += 1
                    if "thinp dump: " not in message:
                        complaint = "refused without a sentence"
                elif status != 0:
                    complaint = f"ended with {status}: {message[-300:]}"
                elif output != expected(changed):
                    complaint = "printed something else than the second reader"
                else:
                    counts["printed"] += 1
                if thin_dump and not complaint:
                    witness, text, _ = run([thin_dump], path)
                    if witness == 0 and status == 0:
                        counts["both took it"] += 1
                        if text != output:
                            complaint = "printed something else than thin_dump"
                    elif witness == 0:
                        counts["refused, thin_dump took it"] += 1
                        stricter[message.split(": ", 2)[-1].strip()] += 1
                    elif status == 0:
                        counts["printed, thin_dump refused"] += 1
                if complaint:
                    failures += 1
                    print(f"FAILED {case}: {complaint}")
                with open(path, "r+b") as file:
                    file.seek(number * 4096)
                    file.write(healthy[number * 4096:number * 4096 + 4096])
    if args.verbose:
        for sentence, count in sorted(stricter.items()):
            print(f"  refused by thinp only, {count} times: {sentence}")
    print(", ".join(f"{what}: {count}" for what, count in sorted(counts.items())))
    print(f"{counts['refused'] + counts['printed']} passed, {failures} failed")
    return 1 if failures or not counts["printed"] or not counts["refused"] else 0


if __name__ == "__main__":
    sys.exit(main())
