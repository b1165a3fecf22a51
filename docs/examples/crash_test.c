/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests a store against crashes. The store, a notebook of which the last page counts, and the device that it is on are
 * the program's own. See docs/crash-testing.md. */
#include <inttypes.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <thinp/crash.h>
#include <thinp/error.h>
#include <thinp/io.h>
#include <thinp/record.h>

/* --- the device: an array, behind the table of functions that thinp/io.h asks for --- */

enum { NR_BLOCKS = 4 };

static int disk_size(void *ctx, uint64_t *nr_blocks)
{
	(void)ctx;
	*nr_blocks = NR_BLOCKS;
	return 0;
}

static void disk_do(uint8_t *disk, struct thinp_io_op *op)
{
	size_t at = (size_t)op->block * THINP_BLOCK_SIZE;
	size_t nr_bytes = (size_t)op->nr_blocks * THINP_BLOCK_SIZE;

	if (op->kind == THINP_IO_READ)
		memcpy(op->buffer, disk + at, nr_bytes);
	else if (op->kind == THINP_IO_WRITE)
		memcpy(disk + at, op->buffer, nr_bytes);
	op->result = 0; /* a FLUSH has nothing to do here, and a DISCARD need not */
}

/* Nothing can fail, and nothing is used by two threads: else this would be longer. */
static int disk_batch(void *ctx, struct thinp_io_op *ops, size_t nr_ops)
{
	for (size_t i = 0; i < nr_ops; i++)
		disk_do(ctx, &ops[i]);
	return 0;
}

static const struct thinp_io_backend disk_table = {
	.size = sizeof(disk_table), .name = "disk", .get_size = disk_size, .batch = disk_batch};

/* --- the store: page n is block 2 + n % 2, and the title that names it block n % 2 --- */

enum { WORDS = THINP_BLOCK_SIZE / sizeof(uint64_t) };

/* Blocks as they are in memory, aligned as a device wants them. */
struct page {
	alignas(THINP_BLOCK_SIZE) uint64_t words[WORDS]; /* all the same */
};

struct title {
	alignas(THINP_BLOCK_SIZE) uint64_t number; /* of its page, from 1 on */
	uint64_t word;                             /* that the page is full of */
	uint64_t check;                            /* of the two above: a torn title does not count */
	uint8_t unused[THINP_BLOCK_SIZE - 24];
};

static uint64_t check_of(const struct title *title)
{
	return ~(title->number * 31 + title->word);
}

static int write_page(struct thinp_io *io, uint64_t number, uint64_t word)
{
	struct page page;

	for (size_t i = 0; i < WORDS; i++)
		page.words[i] = word;
	return thinp_io_write(io, 2 + number % 2, 1, &page);
}

static int write_title(struct thinp_io *io, uint64_t number, uint64_t word)
{
	struct title title = {.number = number, .word = word};

	title.check = check_of(&title);
	return thinp_io_write(io, number % 2, 1, &title);
}

/* Page and title with a flush behind each: the title must not be there before its page. */
static int commit(struct thinp_io *io, uint64_t number, bool is_careful)
{
	uint64_t word = number * 1000 + 7;
	int r = write_page(io, number, word);

	if (!r && is_careful)
		r = thinp_io_flush(io);
	if (!r)
		r = write_title(io, number, word);
	return r ? r : thinp_io_flush(io);
}

/* Finds the last title that is whole. Its number is 0 when there is none: nothing was written yet. */
static int find_title(struct thinp_io *io, struct title *last)
{
	struct title title;
	int r = 0;

	last->number = 0;
	for (thinp_block_t block = 0; block < 2 && !r; block++) {
		r = thinp_io_read(io, block, 1, &title);
		if (!r && title.check == check_of(&title) && title.number > last->number)
			*last = title;
	}
	return r;
}

static int check_page(struct thinp_io *io, const struct title *title)
{
	thinp_block_t block = 2 + title->number % 2;
	struct page page;
	int r = thinp_io_read(io, block, 1, &page);

	for (size_t i = 0; i < WORDS && !r; i++)
		if (page.words[i] != title->word)
			r = thinp_error_report(THINP_ECORRUPT, block, "the title is of another page");
	return r;
}

/* Opens the store, which gives the number of its last page. */
static int open_store(struct thinp_io *io, uint64_t *number)
{
	struct title last;
	int r = find_title(io, &last);

	if (!r && last.number)
		r = check_page(io, &last);
	if (!r)
		*number = last.number;
	return r;
}

/* --- the test --- */

enum { NR_COMMITS = 5 };

/* The workload, once. A mark says that from here on no crash may lose this commit. */
static int run_workload(struct thinp_record *record, bool is_careful)
{
	struct thinp_io *io = NULL;
	int r = thinp_record_open(record, NULL, &io);

	for (uint64_t number = 1; number <= NR_COMMITS && !r; number++) {
		r = commit(io, number, is_careful);
		if (!r)
			r = thinp_record_mark(record, number);
	}
	thinp_io_close(io);
	return r;
}

/* One state: the last page that was promised is there, or the next one. */
static int check_state(void *ctx, struct thinp_io *io, const struct thinp_crash_state *state)
{
	uint64_t promised = state->has_mark ? state->mark : 0;
	uint64_t number = 0;
	int r = open_store(io, &number);

	(void)ctx;
	if (!r && (number < promised || number > promised + 1))
		r = thinp_error_report(THINP_ENODATA, THINP_NO_BLOCK, "this is neither the last page nor the next");
	return r;
}

static int check_all(struct thinp_record *record)
{
	struct thinp_error_info info = {.size = sizeof(info)};
	struct thinp_crash *crash = NULL;
	char text[1000];
	int r = thinp_crash_create(record, NULL, &crash);

	if (!r)
		r = thinp_crash_run(crash, check_state, NULL);
	thinp_error_last(&info);
	if (!r) {
		printf("all %" PRIu64 " states are sound\n", thinp_crash_nr_states(crash));
	} else if (crash) {
		thinp_crash_describe(crash, text, sizeof(text));
		printf("%s\n%s", info.message, text);
	}
	thinp_crash_destroy(crash);
	return r;
}

/* Everything for one store: a new disk, a log over it, the workload, all states. */
static int test_store(bool is_careful)
{
	uint8_t *disk = calloc(NR_BLOCKS, THINP_BLOCK_SIZE);
	struct thinp_record *record = NULL;
	struct thinp_io *io = NULL;
	int r = disk ? thinp_io_create(&disk_table, disk, NULL, &io) : THINP_ENOMEM;

	if (!r)
		r = thinp_record_create(io, NULL, &record);
	if (!r)
		r = run_workload(record, is_careful);
	if (!r)
		r = check_all(record);
	thinp_record_destroy(record);
	thinp_io_close(io);
	free(disk);
	return r;
}

int main(void)
{
	int r;

	printf("A store that flushes its page before it writes the title:\n");
	r = test_store(true);
	printf("\nOne that does not, which must be found:\n");
	return r == 0 && test_store(false) == THINP_ECORRUPT ? 0 : 1;
}
