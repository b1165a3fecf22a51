# SPDX-License-Identifier: BSD-3-Clause
"""Instructions for each operation, by callgrind.

Counts are steady when all that chooses code is pinned: the compiler, the kind of build and the processor's family, which
are compared with what the committed figures were made with; the functions that libc chooses by what the processor can do,
which are told to do without; and what ISA-L chooses, since callgrind shows it the same processor everywhere.
"""
import json
import os
import re
import shutil
import subprocess
import tempfile

from .build import ROOT

ALLOWED = 0.05
LOOKUP_TARGET = 200
SHORT = "bench/instructions/counts.json"
PATH = os.path.join(ROOT, SHORT)
NO_DISPATCH = "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-AVX512VL,-AVX512BW,-BMI2,-ERMS,-FSRM"


def program_in(folder):
    return os.path.join(folder, "bench", "instructions", "bench_icount")


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def pins(program):
    """What the figures depend on."""
    return dict(line.split(" ", 1) for line in said(program, "--pins").splitlines())


def committed():
    with open(PATH, encoding="utf-8") as file:
        return json.load(file)


def why_not(program, figures):
    """Why nothing can be counted, or nothing be compared with the figures; None when it can."""
    if not shutil.which("valgrind"):
        return "valgrind is not installed"
    if figures is None:
        return None
    here = pins(program)
    different = [f"{key} is {here[key]}, the figures are for {value}" for key, value in figures["pins"].items()
                 if here.get(key) != value]
    return "; ".join(different) or None


def count(program, name):
    """Instructions in work_NAME() and all that it calls."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--toggle-collect=work_{name}", f"--callgrind-out-file={out}", program, name],
            capture_output=True, text=True, env=dict(os.environ, GLIBC_TUNABLES=NO_DISPATCH))
        if done.returncode:
            raise SystemExit(f"{name} cannot be counted:\n{done.stderr}")
        with open(out, encoding="utf-8", errors="replace") as file:
            return int(re.search(r"^(?:summary|totals): (\d+)", file.read(), flags=re.M).group(1))


def count_all(program):
    """Instructions for one operation, by name."""
    return {name: round(count(program, name) / int(nr), 1)
            for name, nr in (line.split() for line in said(program).splitlines())}


def save(program, found):
    with open(PATH, "w", encoding="utf-8") as file:
        json.dump({"pins": pins(program), "counts": found}, file, indent=1)
        file.write("\n")
