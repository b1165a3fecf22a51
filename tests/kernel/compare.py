# SPDX-License-Identifier: BSD-3-Clause
"""Compares what thinp says of a pool with what a kernel and the older tools say of it.

Exit status: 0 they agree, 1 they do not, and each difference is printed.
"""
import argparse
import hashlib
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

SECTOR = 512
FEW = 100  # unmapped blocks of a device to read


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Pool:
    """What thinp says of an image."""

    def __init__(self, thinp, image):
        self.info = json.loads(output(thinp, "info", "--json", image))
        self.listed = {device["dev_id"]: device for device in json.loads(output(thinp, "ls", "--json", image))}
        dumped = json.loads(output(thinp, "dump", "--json", image))
        self.mappings = {device["dev_id"]: device["mappings"] for device in dumped["devices"]}
        self.block = self.info["data_block_sectors"] * SECTOR


# --- with dmsetup status -------------------------------------------------------------------------------------------------


def by_kernel(status):
    """The lines of dmsetup status as one dict for the pool and one for each device, by its id."""
    pool, devices = None, {}
    for line in status.splitlines():
        name, _, rest = line.partition(": ")
        words = rest.split()
        if words[2] == "thin-pool":
            used_metadata, nr_metadata = words[4].split("/")
            used_data, nr_data = words[5].split("/")
            pool = {
                "transaction_id": int(words[3]),
                "nr_metadata_allocated": int(used_metadata),
                "nr_metadata_blocks": int(nr_metadata),
                "nr_data_allocated": int(used_data),
                "nr_data_blocks": int(nr_data),
                "metadata_snap": None if words[6] == "-" else int(words[6]),
                "needs_check": "needs_check" in words[7:],
            }
        elif words[2] == "thin":
            devices[int(name.removeprefix("thin-"))] = {
                "mapped sectors": int(words[3]),
                "highest mapped sector": None if words[4] == "-" else int(words[4]),
            }
    return pool, devices


def used_with_reserve(nr_blocks, nr_allocated):
    """The kernel keeps metadata back for commits, and counts it as used: a tenth, 4096 blocks at most."""
    return nr_blocks - max(0, nr_blocks - nr_allocated - min(4096, nr_blocks // 10))


def by_thinp(pool):
    """The same of a Pool."""
    sectors = pool.info["data_block_sectors"]
    info = {name: pool.info[name] for name in (
        "nr_metadata_blocks", "nr_data_allocated", "nr_data_blocks", "needs_check")}
    info["transaction_id"] = int(pool.info["transaction_id"])
    info["metadata_snap"] = pool.info["metadata_snap"] or None
    info["nr_metadata_allocated"] = used_with_reserve(info["nr_metadata_blocks"], pool.info["nr_metadata_allocated"])
    devices = {}
    for dev_id, device in pool.listed.items():
        ends = [begin + length for begin, _, length, _ in pool.mappings[dev_id]]
        devices[dev_id] = {
            "mapped sectors": device["mapped_blocks"] * sectors,
            "highest mapped sector": max(ends) * sectors - 1 if ends else None,
        }
    return info, devices


def compare_status(args):
    pool = Pool(args.thinp, args.image)
    with open(args.status, encoding="ascii") as file:
        kernel, kernel_devices = by_kernel(file.read())
    ours, our_devices = by_thinp(pool)
    if kernel is None:
        yield f"{args.status} tells of no pool"
        return
    for name, value in kernel.items():
        if ours[name] != value:
            yield f"{name}: {value} by the kernel, {ours[name]} by thinp"
    for dev_id in sorted(kernel_devices.keys() | our_devices.keys()):
        if kernel_devices.get(dev_id) != our_devices.get(dev_id):
            yield f"device {dev_id}: {kernel_devices.get(dev_id)} by the kernel, {our_devices.get(dev_id)} by thinp"
    if pool.info["nr_devices"] != len(pool.listed):
        yield f"thinp info counts {pool.info['nr_devices']} devices, thinp ls {len(pool.listed)}"
    for dev_id, mappings in pool.mappings.items():
        mapped = sum(length for _, _, length, _ in mappings)
        if mapped != pool.listed[dev_id]["mapped_blocks"]:
            yield f"device {dev_id}: {mapped} blocks by thinp dump, {pool.listed[dev_id]['mapped_blocks']} by thinp ls"


# --- with thin_dump ------------------------------------------------------------------------------------------------------


def mappings_of(element, shared):
    """(virtual block, data block, time) of each block below an element; ranges that devices share are looked up."""
    for child in element:
        if child.tag == "ref":
            yield from shared[child.get("name")]
        else:
            origin = int(child.get("origin_begin", child.get("origin_block")))
            data = int(child.get("data_begin", child.get("data_block")))
            for i in range(int(child.get("length", 1))):
                yield origin + i, data + i, int(child.get("time"))


def normal_form(xml):
    """The superblock's attributes, and those and the mappings of each device."""
    root = ElementTree.fromstring(xml)
    shared, devices = {}, {}
    for element in root:
        if element.tag == "def":
            shared[element.get("name")] = list(mappings_of(element, shared))
        else:
            devices[element.get("dev_id")] = (element.attrib, list(mappings_of(element, shared)))
    superblock = {name: value for name, value in root.attrib.items() if name != "flags"}  # newer tools leave it out
    return superblock, devices


def compare_same(args):
    more = ["-m"] if args.metadata_snap else []
    theirs, their_devices = normal_form(output("thin_dump", *more, args.image))
    ours, our_devices = normal_form(output(args.thinp, "dump", *more, args.image))
    if theirs != ours:
        yield f"superblock: {theirs} by thin_dump, {ours} by thinp"
    if list(their_devices) != list(our_devices):
        yield f"devices: {list(their_devices)} by thin_dump, {list(our_devices)} by thinp"
    for dev_id in their_devices.keys() & our_devices.keys():
        if their_devices[dev_id] != our_devices[dev_id]:
            yield f"device {dev_id}: the attributes or the mappings differ"


# --- with the data -------------------------------------------------------------------------------------------------------


def pieces(mappings, begin, end):
    """The range of virtual blocks as (data block or None, number of blocks)."""
    for origin, data, length, _ in mappings:
        first, last = max(begin, origin), min(end, origin + length)
        if first < last:
            if begin < first:
                yield None, first - begin
            yield data + first - origin, last - first
            begin = last
    if begin < end:
        yield None, end - begin


def sum_of(pool, data, dev_id, begin, length):
    """The checksum of a range of a device, put together of what is on the data image; unmapped blocks are zero."""
    digest = hashlib.sha1()
    for data_block, nr_blocks in pieces(pool.mappings.get(dev_id, []), begin, begin + length):
        if data_block is not None:
            data.seek(data_block * pool.block)
        for _ in range(nr_blocks):
            digest.update(data.read(pool.block) if data_block is not None else bytes(pool.block))
    return digest.hexdigest()


def compare_blocks(args):
    pool = Pool(args.thinp, args.image)
    nr_mapped = 0
    with open(args.data, "rb") as data, open(args.sums, encoding="ascii") as sums:
        for line in sums:
            dev_id, begin, length = map(int, line.split()[:3])
            if sum_of(pool, data, dev_id, begin, length) != line.split()[3]:
                yield f"device {dev_id}: blocks {begin} to {begin + length} do not hold what the kernel read"
            nr_mapped += sum(n for at, n in pieces(pool.mappings.get(dev_id, []), begin, begin + length) if at is not None)
    if not nr_mapped:
        yield f"no block that {args.sums} tells of is mapped"


def sums_of_blocks(program, data, block_bytes, blocks):
    """Data block to checksum; None is a block of zeros, which the largest of all block numbers is as well."""
    nothing = 1 << 40
    wanted = "".join(f"{block} 1\n" for block in sorted(blocks) + [nothing])
    done = subprocess.run([program, "sum", data, str(block_bytes)], input=wanted, check=True, capture_output=True, text=True)
    sums = {int(block): value for block, value in map(str.split, done.stdout.splitlines())}
    sums[None] = sums.pop(nothing)
    return sums


def read_sums(name):
    """(device, virtual block) to checksum."""
    with open(name, encoding="ascii") as file:
        return {(int(dev_id), int(block)): value for dev_id, block, value in map(str.split, file)}


def compare_sums(args):
    pool = Pool(args.thinp, args.image)
    places = {(dev_id, origin + i): data + i
              for dev_id, mappings in pool.mappings.items() for origin, data, length, _ in mappings for i in range(length)}
    kernel = read_sums(args.sums)
    ours = sums_of_blocks(args.program, args.data, pool.block, set(places.values()))
    for place, value in kernel.items():
        if ours[places.get(place)] != value:
            yield "device {}: block {} does not hold what the kernel read".format(*place)
    if not kernel.keys() & places.keys():
        yield f"no block that {args.sums} tells of is mapped"
    if args.whole and places.keys() - kernel.keys():
        yield f"{len(places.keys() - kernel.keys())} blocks are mapped that the kernel did not read"
    print(f"{len(kernel.keys() & places.keys())} mapped blocks read by the kernel, {len(kernel.keys() - places.keys())} others")


def compare_alike(args):
    before = {block: value for (dev_id, block), value in read_sums(args.sums).items() if dev_id == int(args.id)}
    now = {block: value for (dev_id, block), value in read_sums(args.other_sums).items() if dev_id == int(args.other_id)}
    both = before.keys() & now.keys()
    for block in sorted(both):
        if before[block] != now[block]:
            yield f"block {block} differs"
    if not both:
        raise ValueError(f"device {args.id} of {args.sums} and device {args.other_id} of {args.other_sums} have no blocks in common")


# --- by the checker ------------------------------------------------------------------------------------------------------


def checked(args):
    done = subprocess.run([args.thinp, "check", "--json", args.image], check=False, capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout)


def is_data_leak(finding):
    return (finding["rule"], finding["severity"], finding["part"]) == ("SM11", "leak", "data bitmap")


def is_restored(finding):
    return finding["severity"] == "warning" and finding["rule"] in ("SM5", "SM6", "SM7")


def compare_clean(args):
    status, result = checked(args)
    for finding in result["findings"]:
        if (args.leaks and is_data_leak(finding)) or (args.restored and is_restored(finding)):
            continue
        yield f"{finding['rule']} {finding['severity']}: {finding['text']}"
    if not args.leaks and (status or result["verdict"] != "sound"):
        yield f"status {status}, {result['verdict']}"


def print_leaks(args):
    """A line "drop FIRST NR_BLOCKS" for change_pool for each run of data blocks that are counted once, and used by nobody."""
    for finding in filter(is_data_leak, checked(args)[1]["findings"]):
        print("drop", finding["begin"], finding["end"] - finding["begin"])
    return ()


# --- for the scenarios ---------------------------------------------------------------------------------------------------


def ranges_to_read(mappings):
    """(first block, number of blocks) of what is mapped; the first ones each with the block behind it."""
    yield 0, 1
    for i, (origin, _, length, _) in enumerate(mappings):
        yield origin, length + (i < FEW)


def print_plan(args):
    """A line "id begin length" for each range to read."""
    for dev_id, mappings in Pool(args.thinp, args.image).mappings.items():
        for begin, length in ranges_to_read(mappings):
            print(dev_id, begin, length)
    return ()


def stamp_blocks(args):
    """Fills an image so that no two sectors are equal."""
    with open(args.data, "r+b") as data:
        nr_sectors = data.seek(0, 2) // SECTOR
        data.seek(0)
        for sector in range(nr_sectors):
            data.write(b"sector %012d\n" % sector * 25 + bytes(12))
    return ()


def print_ids(args):
    print(*Pool(args.thinp, args.image).listed)
    return ()


def print_mapped(args):
    print(sum(length for mappings in Pool(args.thinp, args.image).mappings.values() for _, _, length, _ in mappings))
    return ()


def print_info(args):
    print(Pool(args.thinp, args.image).info[args.member])
    return ()


def print_device(args):
    print(Pool(args.thinp, args.image).listed[int(args.id)][args.member])
    return ()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--thinp", required=True, help="the program")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name, function, about, *arguments):
        sub = commands.add_parser(name, help=about)
        for argument in arguments:
            sub.add_argument(argument)
        sub.set_defaults(function=function)
        return sub

    command("status", compare_status, "with dmsetup status", "image", "status")
    same = command("same", compare_same, "with thin_dump", "image")
    same.add_argument("-m", dest="metadata_snap", action="store_true", help="the metadata snapshot")
    command("blocks", compare_blocks, "data and metadata with what the kernel read", "image", "data", "sums")
    sums = command("sums", compare_sums, "data and metadata, block by block, with what the kernel read", "image", "data", "program",
                   "sums")
    sums.add_argument("--whole", action="store_true", help="the kernel has read every mapped block")
    command("alike", compare_alike, "what two devices hold", "sums", "id", "other_sums", "other_id")
    clean = command("clean", compare_clean, "with what thinp check says of a pool that is sound", "image")
    clean.add_argument("--leaks", action="store_true", help="data blocks may be lost")
    clean.add_argument("--restored", action="store_true", help="free blocks may be counted as thin_restore 0.9 does")
    command("leaks", print_leaks, "print what change_pool has to do to mend leaks of data blocks", "image")
    command("plan", print_plan, "print what to read of the devices to see every mapped block", "image")
    command("stamp", stamp_blocks, "fill an image with sectors that all differ", "data")
    command("ids", print_ids, "print the ids of the devices", "image")
    command("mapped", print_mapped, "print how many blocks are mapped", "image")
    command("info", print_info, "print a member of what thinp info prints", "image", "member")
    command("device", print_device, "print a member of what thinp ls prints of a device", "image", "id", "member")
    args = parser.parse_args()
    differ = False
    for difference in args.function(args):
        print(difference)
        differ = True
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
