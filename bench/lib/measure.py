# SPDX-License-Identifier: BSD-3-Clause
"""Carrying out jobs in rounds. Each job is a process of its own; in a round every job has its turn, so that what disturbs
the machine for a while disturbs all alike."""
import json
import os
import shutil
import subprocess
import tempfile
import time

UNITS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}
# What Google Benchmark itself has to say of a benchmark.
ITS_OWN = {"name", "run_name", "run_type", "repetitions", "repetition_index", "threads", "iterations", "real_time",
           "cpu_time", "time_unit", "family_index", "per_family_instance_index", "items_per_second", "items"}


class Benchmarks:
    """A program of Google Benchmark, or part of it."""

    def __init__(self, program, pattern, rounds, seconds=0.2):
        self.program, self.pattern, self.rounds, self.seconds = program, pattern, rounds, seconds
        self.name = f"{os.path.basename(program)} {pattern}"

    def run(self, data):
        """Give (samples by name, failures by name)."""
        command = [self.program, f"--benchmark_filter={self.pattern}", "--benchmark_format=json",
                   f"--benchmark_min_time={self.seconds}"]
        done = subprocess.run(command, cwd=data, capture_output=True, text=True,
                              env=dict(os.environ, THINP_BENCH_DIR=data, THINP_BENCH_ONCE="1"))
        if done.returncode:
            return {}, {self.name: (done.stderr.strip().splitlines() or ["failed"])[-1]}
        if not done.stdout.strip(): # none of that name
            return {}, {}
        return samples_of(json.loads(done.stdout)["benchmarks"])


def samples_of(benchmarks):
    samples, failures = {}, {}
    for one in benchmarks:
        name = plain_name(one["name"])
        if one.get("error_occurred"):
            failures[name] = one["error_message"]
        else:
            samples[name] = sample_of(one)
    return samples, failures


def plain_name(name):
    """Without what Google Benchmark adds behind it."""
    return "/".join(part for part in name.split("/")
                    if part not in ("real_time", "process_time") and not part.startswith(("iterations:", "repeats:")))


def sample_of(one):
    items = one.get("items", 1) or 1
    unit = UNITS[one["time_unit"]]
    sample = {"cpu": one["cpu_time"] * unit / items, "wall": one["real_time"] * unit / items}
    for key, value in one.items():
        if key not in ITS_OWN and isinstance(value, (int, float)):
            sample[key] = value
    if "written" in sample: # of all times of the work
        sample["written"] /= one["iterations"]
    return sample


def run_all(jobs, data, result, most_rounds=None):
    """Carry out all jobs, and put what they give into the result."""
    began = time.monotonic()
    rounds = max((job.rounds for job in jobs), default=0)
    rounds = min(rounds, most_rounds) if most_rounds else rounds
    os.makedirs(data, exist_ok=True)
    for number in range(rounds):
        for job in jobs:
            if number < job.rounds:
                print(f"{time.monotonic() - began:6.0f} s  round {number + 1}: {job.name}", flush=True)
                run_one(job, data, result)


def run_one(job, data, result):
    folder = tempfile.mkdtemp(prefix="bench-", dir=data)
    try:
        samples, failures = job.run(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name, sample in samples.items():
        result["samples"].setdefault(name, []).append(sample)
    for name, why in failures.items():
        print(f"          {name}: {why}", flush=True)
        result["failures"][name] = why
