// SPDX-License-Identifier: BSD-3-Clause
//
// shim/bench.cc - a table of C functions as Google Benchmarks.
#include "bench.h"

#include <benchmark/benchmark.h>

#include <cstdlib>

struct bench_run {
	const struct bench *bench;
	benchmark::State &state;
	bool is_skipped;
};

const void *bench_arg(const struct bench_run *run)
{
	return run->bench->arg;
}

int64_t bench_size(const struct bench_run *run)
{
	return run->bench->sizes ? run->state.range(0) : 0;
}

void bench_skip(struct bench_run *run, const char *why)
{
	run->is_skipped = true;
	run->state.SkipWithError(why);
}

void bench_pause(struct bench_run *run)
{
	run->state.PauseTiming();
}

void bench_resume(struct bench_run *run)
{
	if (!run->is_skipped)
		run->state.ResumeTiming();
}

void bench_count_items(struct bench_run *run, uint64_t nr_items)
{
	run->state.SetItemsProcessed(run->state.max_iterations * static_cast<int64_t>(nr_items));
	run->state.counters["items"] = static_cast<double>(nr_items);
}

void bench_show(struct bench_run *run, const char *name, double number)
{
	run->state.counters[name] = number;
}

static void (*at_end)(void);

void bench_at_end(void (*fn)(void))
{
	at_end = fn;
}

void bench_keep(uint64_t value)
{
	benchmark::DoNotOptimize(value);
}

static void run_one(const struct bench &bench, benchmark::State &state)
{
	struct bench_run run = {&bench, state, false};
	void *ctx = bench.setup ? bench.setup(&run) : nullptr;

	// one turn of this loop is all the times of the run
	while (!run.is_skipped && state.KeepRunningBatch(state.max_iterations))
		bench.work(&run, ctx, static_cast<uint64_t>(state.max_iterations));
	if (bench.teardown)
		bench.teardown(ctx);
}

// Real time, since waiting for a device is what most of them are about; CPU time is shown beside it.
static void register_one(const struct bench &bench)
{
	auto *b =
		benchmark::RegisterBenchmark(bench.name, [&bench](benchmark::State &state) { run_one(bench, state); });

	b->UseRealTime()->MeasureProcessCPUTime();
	if (bench.in_microseconds)
		b->Unit(benchmark::kMicrosecond);
	for (const int64_t *size = bench.sizes; size && *size; size++)
		b->Arg(*size);
	if (bench.nr_times)
		b->Iterations(bench.nr_times);
	// bench/run starts the program again and again in place of repetitions
	if (bench.nr_repetitions && !std::getenv("THINP_BENCH_ONCE"))
		b->Repetitions(static_cast<int>(bench.nr_repetitions))->ReportAggregatesOnly();
}

int main(int argc, char **argv)
{
	for (const struct bench *bench = benches; bench->name; bench++)
		register_one(*bench);
	benchmark::Initialize(&argc, argv);
	if (benchmark::ReportUnrecognizedArguments(argc, argv))
		return 2;
	benchmark::RunSpecifiedBenchmarks();
	if (at_end)
		at_end();
	benchmark::Shutdown();
	return 0;
}
