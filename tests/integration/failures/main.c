/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * integration/failures/main.c - runs every scenario with everything failing, and compares the list with what the library
 * exports.
 */
#include "failures.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct covered *const tables[] = {
	failures_of_io,
	failures_of_kit,
	failures_of_block,
	failures_of_trees,
	failures_of_pool,
	failures_of_op_queue,
	failures_of_alloc,
	failures_of_transaction,
	failures_of_changing_trees,
	failures_of_changing_arrays,
	failures_of_space_map,
	failures_of_store,
	failures_of_changing_pools,
};
#define NR_TABLES (sizeof(tables) / sizeof(tables[0]))

enum { MAX_SCENARIOS = 64, MAX_SYMBOLS = 512, MOST_BYTES = 64 << 10, BLOCK = 4096 };

/* --- a world --- */

void *world_blocks(size_t nr_blocks)
{
	void *blocks = aligned_alloc(BLOCK, nr_blocks * BLOCK);

	assert_non_null(blocks);
	memset(blocks, 0, nr_blocks * BLOCK);
	return blocks;
}

static void load(struct world *w, const char *fixture)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = WORLD_BLOCKS};
	void *block = world_blocks(1);
	char path[4096];
	FILE *file;

	assert_int_equal(thinp_io_open_memory(&opts, &w->memory), 0);
	if (fixture) {
		snprintf(path, sizeof(path), "%s/%s", THINP_FIXTURES, fixture);
		file = fopen(path, "rb");
		assert_non_null(file);
		for (thinp_block_t at = 0; fread(block, BLOCK, 1, file) == 1; at++) {
			if (at >= WORLD_BLOCKS)
				assert_int_equal(thinp_io_resize(w->memory, at + 1), 0);
			assert_int_equal(thinp_io_write(w->memory, at, 1, block), 0);
		}
		fclose(file);
	}
	free(block);
}

static struct world *begin_world(const struct scenario *s)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	alloc_counting_init(&w->alloc);
	load(w, s->fixture);
	assert_int_equal(thinp_fault_create(w->memory, NULL, &w->fault), 0);
	assert_int_equal(thinp_fault_open(w->fault, NULL, &w->io), 0);
	if (s->setup)
		s->setup(w);
	return w;
}

static void end_world(struct world *w, const struct scenario *s)
{
	if (s->close)
		s->close(w);
	alloc_counting_check(&w->alloc);
	assert_true(w->alloc.largest <= (s->large ? s->large : (size_t)MOST_BYTES));
	thinp_io_close(w->io);
	thinp_fault_destroy(w->fault);
	thinp_io_close(w->memory);
	free(w);
}

/* --- what fails --- */

enum { ALLOCATION = 0 }; /* else one of thinp_io_kind */

static const struct {
	uint32_t kind;
	const char *name;
} kinds[] = {
	{ALLOCATION, "allocation"},    {THINP_IO_READ, "read"},   {THINP_IO_WRITE, "write"},
	{THINP_IO_DISCARD, "discard"}, {THINP_IO_FLUSH, "flush"},
};
#define NR_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static bool has_fired(struct world *w, uint32_t kind, uint64_t rule)
{
	uint64_t matched;
	uint64_t fired;

	if (kind == ALLOCATION)
		return alloc_counting_has_failed(&w->alloc);
	assert_int_equal(thinp_fault_get_counts(w->fault, rule, &matched, &fired), 0);
	return fired;
}

/* The code that came out, and whether anything was made to fail at all. */
static int attempt_with_failure(struct world *w, const struct scenario *s, uint32_t kind, uint64_t n, bool *fired)
{
	const struct thinp_fault_rule from = {.size = sizeof(from),
					      .kinds = 1u << kind,
					      .action = THINP_FAULT_FAIL,
					      .nth = n,
					      .times = w->fails_on ? THINP_FAULT_ALWAYS : 1,
					      .code = THINP_EIO};
	uint64_t rule = 0;
	int r;

	if (kind == ALLOCATION)
		(w->fails_on ? alloc_counting_fail_from : alloc_counting_fail)(&w->alloc, n);
	else
		assert_int_equal(thinp_fault_add(w->fault, &from, &rule), 0);
	thinp_error_report(THINP_ENODATA, THINP_NO_BLOCK, "of before");
	r = s->attempt(w);
	*fired = has_fired(w, kind, rule);
	alloc_counting_fail(&w->alloc, 0);
	thinp_fault_clear(w->fault);
	return r;
}

static void expect_told(uint32_t kind, int r, bool fired)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	thinp_error_last(&info);
	if (!r)
		return; /* nothing failed, or it could be done without */
	assert_true(fired);
	assert_true(kind == ALLOCATION ? r == THINP_ENOMEM : r == THINP_EIO || r == THINP_EUNKNOWN);
	assert_int_equal(info.code, r);
	assert_true(info.message[0]);
}

static void run_kind(const struct scenario *s, size_t k, bool fails_on, unsigned int *nr_told)
{
	bool fired = true;

	for (uint64_t n = 1; fired; n++) {
		struct world *w = begin_world(s);
		int r;

		w->fails_on = fails_on;
		r = attempt_with_failure(w, s, kinds[k].kind, n, &fired);
		expect_told(kinds[k].kind, r, fired);
		if (r != THINP_EUNKNOWN)
			assert_int_equal(s->attempt(w), 0);
		end_world(w, s);
		*nr_told += r != 0;
	}
}

static void whatever_fails_is_told_and_leaves_all_usable(void **state)
{
	const struct scenario *s = *state;

	for (size_t k = 0; k < NR_KINDS; k++) {
		unsigned int nr_told[2] = {0};

		run_kind(s, k, false, &nr_told[0]);
		run_kind(s, k, true, &nr_told[1]);
		if (nr_told[0] || nr_told[1])
			print_message("  %u failures of %s, and %u that go on\n", nr_told[0], kinds[k].name,
				      nr_told[1]);
	}
}

/* --- is everything in the list? --- */

struct names {
	char text[MAX_SYMBOLS][64];
	size_t nr;
};

/* The functions of the public nodes of a version script. */
static void read_map(struct names *names, const char *path)
{
	FILE *file = fopen(path, "r");
	bool is_public = false;
	char line[256];

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		char *end = strchr(line, ';');

		if (strncmp(line, "LIBTHINP_", 9) == 0)
			is_public = strstr(line, "PRIVATE") == NULL;
		if (!is_public || line[0] != '\t' || strncmp(line + 1, "thinp_", 6) != 0 || !end)
			continue;
		*end = '\0';
		assert_true(names->nr < MAX_SYMBOLS);
		snprintf(names->text[names->nr++], sizeof(names->text[0]), "%.60s", line + 1);
	}
	fclose(file);
}

static unsigned int count_in_tables(const char *symbol)
{
	unsigned int nr = 0;

	for (size_t t = 0; t < NR_TABLES; t++)
		for (const struct covered *c = tables[t]; c->symbol; c++)
			nr += strcmp(c->symbol, symbol) == 0;
	for (const struct cannot_fail *c = failures_none; c->symbol; c++)
		nr += strcmp(c->symbol, symbol) == 0;
	return nr;
}

static bool is_exported(const struct names *names, const char *symbol)
{
	for (size_t i = 0; i < names->nr; i++)
		if (strcmp(names->text[i], symbol) == 0)
			return true;
	print_message("%s is in the list, but the library does not export it\n", symbol);
	return false;
}

static void every_exported_function_is_in_the_list_once(void **state)
{
	static struct names names;
	unsigned int nr_wrong = 0;

	(void)state;
	read_map(&names, THINP_MAP);
	assert_true(names.nr > 50);
	for (size_t i = 0; i < names.nr; i++) {
		unsigned int nr = count_in_tables(names.text[i]);

		if (nr != 1)
			print_message(
				"%s is in the list %u times: give it a scenario, or a reason why it cannot fail\n",
				names.text[i], nr);
		nr_wrong += nr != 1;
	}
	for (size_t t = 0; t < NR_TABLES; t++)
		for (const struct covered *c = tables[t]; c->symbol; c++)
			nr_wrong += !is_exported(&names, c->symbol);
	for (const struct cannot_fail *c = failures_none; c->symbol; c++)
		nr_wrong += !is_exported(&names, c->symbol) || !c->reason;
	assert_int_equal(nr_wrong, 0);
}

/* --- a test for each scenario --- */

static bool is_new(const struct CMUnitTest *tests, size_t nr, const struct scenario *s)
{
	for (size_t i = 0; i < nr; i++)
		if (tests[i].initial_state == s)
			return false;
	return true;
}

int main(void)
{
	static struct CMUnitTest tests[MAX_SCENARIOS] = {cmocka_unit_test(every_exported_function_is_in_the_list_once)};
	size_t nr = 1;

	for (size_t t = 0; t < NR_TABLES; t++)
		for (const struct covered *c = tables[t]; c->symbol && nr < MAX_SCENARIOS; c++)
			if (is_new(tests, nr, c->scenario))
				tests[nr++] =
					(struct CMUnitTest){.name = c->scenario->name,
							    .test_func = whatever_fails_is_told_and_leaves_all_usable,
							    .initial_state = (void *)(uintptr_t)c->scenario};
	return _cmocka_run_group_tests("integration/failures", tests, nr, NULL, NULL);
}
