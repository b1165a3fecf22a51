# SPDX-License-Identifier: BSD-3-Clause
"""Building the benchmarks of a tree."""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def call(command, **options):
    """Run it quietly; show what it said when it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode:
        sys.stderr.write(done.stdout)
        sys.exit(f"failed: {' '.join(command)}")
    return done.stdout


def build(root, folder, targets=("bench/all",)):
    """Configure the tree `root` in `folder`, and build the benchmarks there."""
    print(f"== building in {folder}", flush=True)
    said = call(["cmake", "-S", root, "-B", folder, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
                 "-DTHINP_BUILD_BENCH=ON", "-DTHINP_BUILD_TESTS=OFF"])
    for line in said.splitlines():
        if "beside" in line and "no:" in line:
            print(line.removeprefix("--"))
    call(["cmake", "--build", folder, "--target", *targets])


def commit(root):
    """The commit of the tree, and whether it has been changed since."""
    said = subprocess.run(["git", "-C", root, "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True,
                          text=True)
    return said.stdout.strip() or "unknown"
