/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/dump.c - the order of a dump: superblock, devices, their mappings.
 */
#include <thinp/dump.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/opts.h"
#include "check/dump_format.h"
#include "thin/runs.h"

#include <stdlib.h>

struct dump {
	struct thinp_pool *pool;
	struct thinp_dump_opts opts;
	struct thinp_allocator allocator;
	const struct tp_dump_format *format;
	uint64_t *dev_ids; /* sorted copy */
	bool is_first_device;
	bool is_first_run;
	uint64_t done;
	uint64_t total;
	struct tp_leaf_runs known; /* from the devices before */
	struct tp_text text;
};

static int by_id(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool is_wanted(const struct dump *dump, uint64_t dev_id)
{
	return !dump->opts.nr_dev_ids || bsearch(&dev_id, dump->dev_ids, dump->opts.nr_dev_ids, sizeof(dev_id), by_id);
}

/* Damaged counts must not wrap round to a plausible sum. */
static uint64_t saturating_sum(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static int add_to_total(void *ctx, const struct thinp_device_info *device)
{
	struct dump *dump = ctx;

	if (is_wanted(dump, device->dev_id))
		dump->total = saturating_sum(dump->total, device->mapped_blocks);
	return 0;
}

static int report_progress(struct dump *dump)
{
	if (dump->opts.progress && dump->opts.progress(dump->opts.progress_ctx, dump->done, dump->total))
		return tp_fail(THINP_ECANCELED, THINP_NO_BLOCK, "the dump was cancelled");
	return 0;
}

static int dump_runs(void *ctx, const struct thinp_run *runs, size_t nr_runs)
{
	struct dump *dump = ctx;

	dump->format->runs(&dump->text, runs, nr_runs, dump->is_first_run);
	dump->is_first_run = false;
	for (size_t i = 0; i < nr_runs; i++)
		dump->done = saturating_sum(dump->done, runs[i].length);
	return dump->text.error ? dump->text.error : report_progress(dump);
}

static int dump_device(void *ctx, const struct thinp_device_info *device)
{
	struct dump *dump = ctx;
	int r = 0;

	if (!is_wanted(dump, device->dev_id))
		return 0;
	dump->format->device_begin(&dump->text, device, dump->is_first_device);
	dump->is_first_device = false;
	dump->is_first_run = true;
	if (!(dump->opts.flags & THINP_DUMP_SKIP_MAPPINGS))
		r = tp_pool_walk_unknown_runs(dump->pool, device->dev_id, &dump->known, dump_runs, dump);
	if (r)
		return r;
	dump->format->device_end(&dump->text);
	return dump->text.error ? dump->text.error : report_progress(dump);
}

static int run(struct dump *dump)
{
	struct thinp_pool_info info = {.size = sizeof(info)};
	int r = 0;

	thinp_pool_get_info(dump->pool, &info);
	dump->format->begin(&dump->text, &info);
	if (dump->opts.progress && !(dump->opts.flags & THINP_DUMP_SKIP_MAPPINGS))
		r = thinp_pool_walk_devices(dump->pool, add_to_total, dump);
	if (!r)
		r = thinp_pool_walk_devices(dump->pool, dump_device, dump);
	if (!r)
		dump->format->end(&dump->text);
	tp_text_flush(&dump->text);
	return r ? r : dump->text.error;
}

static int choose_format(struct dump *dump)
{
	static const struct tp_dump_format *const formats[] = {
		[THINP_DUMP_XML] = &tp_dump_xml,
		[THINP_DUMP_HUMAN_READABLE] = &tp_dump_human_readable,
		[THINP_DUMP_JSON] = &tp_dump_json,
	};

	if (dump->opts.format >= sizeof(formats) / sizeof(formats[0]))
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "there is no form %u of a dump", dump->opts.format);
	if (dump->opts.flags & ~THINP_DUMP_SKIP_MAPPINGS)
		return tp_fail(THINP_ENOTSUP, THINP_NO_BLOCK, "unknown flags %#x for a dump", dump->opts.flags);
	dump->format = formats[dump->opts.format];
	return 0;
}

static int sort_ids(struct dump *dump)
{
	size_t nr = dump->opts.nr_dev_ids;

	if (!nr)
		return 0;
	dump->dev_ids = tp_alloc_zeroed(&dump->allocator, nr, sizeof(*dump->dev_ids));
	if (!dump->dev_ids)
		return THINP_ENOMEM;
	memcpy(dump->dev_ids, dump->opts.dev_ids, nr * sizeof(*dump->dev_ids));
	qsort(dump->dev_ids, nr, sizeof(*dump->dev_ids), by_id);
	return 0;
}

int thinp_dump(struct thinp_pool *pool, const struct thinp_dump_opts *user_opts, thinp_dump_write_fn write, void *ctx)
{
	struct thinp_allocator allocator;
	struct thinp_dump_opts opts;
	struct dump *dump;
	int r = tp_opts_take(&opts, sizeof(opts), user_opts);

	if (!r)
		r = tp_allocator_take(&allocator, opts.allocator);
	if (r)
		return r;
	dump = tp_alloc_zeroed(&allocator, 1, sizeof(*dump));
	if (!dump)
		return THINP_ENOMEM;
	dump->pool = pool;
	dump->opts = opts;
	dump->allocator = allocator;
	dump->is_first_device = true;
	dump->text.write = write;
	dump->text.ctx = ctx;
	r = choose_format(dump);
	if (!r)
		r = sort_ids(dump);
	if (!r && !(opts.flags & THINP_DUMP_SKIP_MAPPINGS))
		r = tp_pool_leaf_runs_create(pool, &allocator, &dump->known);
	if (!r)
		r = run(dump);
	tp_pool_leaf_runs_destroy(&dump->known);
	tp_free(&allocator, dump->dev_ids, opts.nr_dev_ids * sizeof(*dump->dev_ids));
	tp_free(&allocator, dump, sizeof(*dump));
	return r;
}
