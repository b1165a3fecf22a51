# SPDX-License-Identifier: BSD-3-Clause
"""What it was measured on."""
import os
import platform
import subprocess


def first(path, name):
    """The text behind `name:` in a file of /proc."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(name):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return ""


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def said(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    except OSError:
        return ""


def caches():
    """Size of each level of cache of the first processor."""
    found = []
    for index in range(5):
        base = f"/sys/devices/system/cpu/cpu0/cache/index{index}"
        if read(f"{base}/type") not in ("", "Instruction"):
            found.append(f"L{read(base + '/level')} {read(base + '/size')}")
    return ", ".join(found)


def hypervisor():
    lines = [line for line in said("lscpu").splitlines() if line.startswith("Hypervisor vendor")]
    return lines[0].split(":", 1)[1].strip() if lines else "no"


def describe(data):
    """A dictionary of lines for people."""
    os.makedirs(data, exist_ok=True)
    memory = int((first("/proc/meminfo", "MemTotal") or "0").split()[0]) / 1048576
    device = said("findmnt", "-no", "FSTYPE,OPTIONS", "-T", data)
    return {
        "processor": f"{os.cpu_count()} x {first('/proc/cpuinfo', 'model name')}",
        "caches": caches(),
        "virtual": hypervisor(),
        "memory": f"{memory:.0f} GiB, transparent huge pages {read('/sys/kernel/mm/transparent_hugepage/enabled')}",
        "files": device,
        "system": f"{platform.system()} {platform.release()}, {said('sh', '-c', '. /etc/os-release; echo $PRETTY_NAME')}",
        "compiler": (said("cc", "--version") or "unknown").splitlines()[0],
        "load before": " ".join(read("/proc/loadavg").split()[:3]),
    }
