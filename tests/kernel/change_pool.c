/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * change_pool.c - a small data path over thinp/pool.h: changes a pool, its data included, as standard input says.
 *
 *   change_pool [--create NR_DATA_BLOCKS] [--ignore-needs-check] METADATA DATA
 *
 * A line is a command and its numbers; "# ..." is ignored. A transaction begins with the first change and ends with a line
 * "commit" or "abort", one of which comes last. "refused CODE COMMAND..." has to fail with that code; what else fails ends the
 * program with status 1. Data blocks are written before the commit that maps them, and blocks that are shared are copied to
 * a new place: what a volume holds is what was written to it, whoever looks.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <thinp/error.h>
#include <thinp/io.h>
#include <thinp/pool.h>

enum { SECTOR = 512, MAX_ARGS = 4, FEW_LEAVES = 2 };

struct path {
	struct thinp_pool *pool;
	int data;
	uint64_t block_bytes;
	uint64_t serial; /* of what is written */
	uint64_t random;
	uint64_t args[MAX_ARGS];
	unsigned nr_args;
};

struct command {
	const char *name;
	unsigned nr_args;
	int (*run)(struct path *path, const uint64_t *args);
};

/* --- data --- */

static int flush_data(void *ctx)
{
	const struct path *path = ctx;

	return fdatasync(path->data) ? THINP_EIO : 0;
}

static int write_sector(const struct path *path, uint64_t data_block, const char *text)
{
	off_t offset = (off_t)(data_block * path->block_bytes);

	return pwrite(path->data, text, SECTOR, offset) == SECTOR ? 0 : THINP_EIO;
}

/* The old content first, as far as there is any. */
static int copy_block(const struct path *path, uint64_t from, uint64_t to)
{
	uint8_t *buffer = malloc(path->block_bytes);
	ssize_t nbytes = buffer ? pread(path->data, buffer, path->block_bytes, (off_t)(from * path->block_bytes)) : -1;
	bool is_done =
		nbytes >= 0 && pwrite(path->data, buffer, (size_t)nbytes, (off_t)(to * path->block_bytes)) == nbytes;

	free(buffer);
	return is_done ? 0 : THINP_EIO;
}

/* A place of its own for a block that is shared (from) or not mapped (NULL). */
static int move_block(struct path *path, uint64_t dev_id, uint64_t block, const uint64_t *from, uint64_t *to)
{
	int r = thinp_pool_alloc_data(path->pool, 1, to, NULL);
	int dropped;

	if (r)
		return r;
	if (from)
		r = copy_block(path, *from, *to);
	if (!r)
		r = thinp_pool_insert(path->pool, dev_id, block, *to);
	if (!r)
		return 0;
	dropped = thinp_pool_dec_data(path->pool, *to, 1);
	return dropped ? dropped : r;
}

static int write_block(struct path *path, uint64_t dev_id, uint64_t block)
{
	struct thinp_mapping mapping;
	char text[SECTOR] = {0};
	int r = thinp_pool_lookup(path->pool, dev_id, block, &mapping);

	if (r == THINP_ENODATA)
		r = move_block(path, dev_id, block, NULL, &mapping.data_block);
	else if (!r && mapping.is_shared)
		r = move_block(path, dev_id, block, &mapping.data_block, &mapping.data_block);
	if (r)
		return r;
	snprintf(text, sizeof(text), "device %" PRIu64 ", block %" PRIu64 ", write %" PRIu64 "\n", dev_id, block,
		 path->serial++);
	return write_sector(path, mapping.data_block, text);
}

/* --- commands: numbers as in the table below --- */

static int create(struct path *path, const uint64_t *args)
{
	return thinp_pool_create_device(path->pool, args[0]);
}

static int snap(struct path *path, const uint64_t *args)
{
	return thinp_pool_create_snapshot(path->pool, args[0], args[1]);
}

static int delete (struct path *path, const uint64_t *args)
{
	return thinp_pool_delete_device(path->pool, args[0]);
}

static int write_blocks(struct path *path, const uint64_t *args)
{
	int r = 0;

	for (uint64_t i = 0; !r && i < args[2]; i++)
		r = write_block(path, args[0], args[1] + i);
	return r;
}

static uint64_t random_below(struct path *path, uint64_t limit)
{
	path->random = path->random * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (path->random >> 20) % limit;
}

static int scatter(struct path *path, const uint64_t *args)
{
	int r = 0;

	path->random = args[3];
	for (uint64_t i = 0; !r && i < args[1]; i++)
		r = write_block(path, args[0], random_below(path, args[2]));
	return r;
}

/* Whole runs, as long as data blocks lie side by side; what they hold is what is there. */
static int map(struct path *path, const uint64_t *args)
{
	uint64_t done = 0;
	int r = 0;

	while (!r && done < args[2]) {
		uint64_t first, nr_taken, nr_mapped = 0;

		r = thinp_pool_alloc_data(path->pool, args[2] - done, &first, &nr_taken);
		if (!r)
			r = thinp_pool_insert_run(path->pool, args[0], args[1] + done, first, nr_taken, &nr_mapped);
		if (!r && nr_mapped < nr_taken)
			r = thinp_pool_dec_data(path->pool, first + nr_mapped, nr_taken - nr_mapped);
		done += nr_mapped;
	}
	return r;
}

static int discard(struct path *path, const uint64_t *args)
{
	return thinp_pool_remove_range(path->pool, args[0], args[1], args[1] + args[2] - 1, 0, NULL, NULL);
}

static int commit_and_begin(struct path *path)
{
	int r = thinp_pool_commit(path->pool);

	return r ? r : thinp_pool_begin(path->pool);
}

/* All of a device, then the device: in transactions that are each as small as can be. */
static int dismantle(struct path *path, const uint64_t *args)
{
	bool is_complete = false;
	int r = 0;

	while (!r && !is_complete) {
		r = thinp_pool_remove_range(path->pool, args[0], 0, UINT64_MAX, FEW_LEAVES, NULL, &is_complete);
		if (!r)
			r = commit_and_begin(path);
	}
	return r ? r : thinp_pool_delete_device(path->pool, args[0]);
}

static int fill_some(struct path *path, const uint64_t *args, unsigned nr)
{
	int r = 0;

	for (; !r && nr; nr--)
		r = write_block(path, args[0], random_below(path, args[1]));
	return r;
}

/* Until there is no room for more, not even for a transaction of one write. */
static int fill(struct path *path, const uint64_t *args)
{
	unsigned nr = 100;
	int r = 0;

	path->random = args[2];
	while (!r && nr) {
		r = fill_some(path, args, nr);
		if (r == THINP_ENOSPC)
			nr /= 10;
		if (!r || r == THINP_ENOSPC)
			r = commit_and_begin(path);
	}
	return r;
}

/* New empty devices from an id on, until there is no room for more. */
static int crowd(struct path *path, const uint64_t *args)
{
	uint64_t id = args[0];
	int r = 0;

	while (!r)
		r = thinp_pool_create_device(path->pool, id++);
	printf("%" PRIu64 "\n", id - 1 - args[0]);
	return r == THINP_ENOSPC ? 0 : r;
}

static int drop(struct path *path, const uint64_t *args)
{
	return thinp_pool_dec_data(path->pool, args[0], args[1]);
}

static int reserve(struct path *path, const uint64_t *args)
{
	(void)args;
	return thinp_pool_reserve_metadata_snap(path->pool);
}

static int release(struct path *path, const uint64_t *args)
{
	(void)args;
	return thinp_pool_release_metadata_snap(path->pool);
}

static int set_transaction_id(struct path *path, const uint64_t *args)
{
	return thinp_pool_set_transaction_id(path->pool, args[0], args[1]);
}

static int set_needs_check(struct path *path, const uint64_t *args)
{
	return thinp_pool_set_needs_check(path->pool, args[0] != 0);
}

static int grow_data(struct path *path, const uint64_t *args)
{
	return thinp_pool_grow_data(path->pool, args[0]);
}

static int grow_metadata(struct path *path, const uint64_t *args)
{
	return thinp_pool_grow_metadata(path->pool, args[0]);
}

static const struct command commands[] = {
	{"create", 1, create},                  /* id */
	{"snap", 2, snap},                      /* id, id of its origin */
	{"delete", 1, delete},                  /* id */
	{"dismantle", 1, dismantle},            /* id: deletes it in small steps */
	{"write", 3, write_blocks},             /* id, first block, number of blocks */
	{"scatter", 4, scatter},                /* id, number of writes, size of the device, seed */
	{"map", 3, map},                        /* id, first block, number of blocks: mapped, and not written */
	{"discard", 3, discard},                /* id, first block, number of blocks */
	{"fill", 3, fill},                      /* id, size of the device, seed */
	{"crowd", 1, crowd},                    /* first id */
	{"drop", 2, drop},                      /* first data block, number of data blocks: a reference to each */
	{"reserve", 0, reserve},                /* a metadata snapshot */
	{"release", 0, release},                /* the metadata snapshot */
	{"transaction", 2, set_transaction_id}, /* old, new */
	{"needs_check", 1, set_needs_check},    /* 0 or 1 */
	{"grow_data", 1, grow_data},            /* number of blocks */
	{"grow_metadata", 1, grow_metadata},    /* number of blocks */
};

/* --- lines --- */

static int usage(const char *what, const char *which)
{
	fprintf(stderr, "change_pool: %s: %s\n", what, which);
	exit(2);
}

static int run_command(struct path *path, char *words)
{
	uint64_t args[MAX_ARGS] = {0};
	const char *name = strtok(words, " \t");
	unsigned nr = 0;

	for (const char *word = strtok(NULL, " \t"); word; word = strtok(NULL, " \t")) {
		if (nr == MAX_ARGS)
			return usage("too many numbers", name);
		args[nr++] = strtoull(word, NULL, 0);
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return nr == commands[i].nr_args ? commands[i].run(path, args) : usage("wrong numbers", name);
	return usage("unknown command", name);
}

/* A change: in the open transaction, or in one that it begins. */
static int change(struct path *path, char *words, bool *is_open)
{
	int r = *is_open ? 0 : thinp_pool_begin(path->pool);

	if (r)
		return r;
	*is_open = true;
	return run_command(path, words);
}

static int run_line(struct path *path, char *line, bool *is_open)
{
	if (strcmp(line, "commit") == 0 || strcmp(line, "abort") == 0) {
		*is_open = false;
		return *line == 'c' ? thinp_pool_commit(path->pool) : thinp_pool_abort(path->pool);
	}
	return change(path, line, is_open);
}

/* "refused CODE LINE" */
static bool is_refused(struct path *path, char *line, bool *is_open)
{
	char *code = line + strlen("refused ");
	char *rest = strchr(code, ' ');
	int r;

	if (!rest)
		return usage("refused what?", line);
	*rest++ = 0;
	r = run_line(path, rest, is_open);
	if (strcmp(thinp_err_name(r), code) == 0)
		return true;
	fprintf(stderr, "change_pool: %s, not %s\n", r ? thinp_err_name(r) : "done", code);
	return false;
}

static bool say_failed(int r)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	thinp_error_last(&info);
	fprintf(stderr, "change_pool: %s: %s\n", thinp_err_name(r), info.code == r ? info.message : thinp_strerror(r));
	return false;
}

static bool run_lines(struct path *path, FILE *file)
{
	bool is_open = false, is_fine = true;
	char line[200];

	for (unsigned nr = 1; is_fine && fgets(line, sizeof(line), file); nr++) {
		char *begin = line + strspn(line, " \t");
		char *end = begin + strcspn(begin, "#\n");
		int r;

		while (end > begin && (end[-1] == ' ' || end[-1] == '\t'))
			end--;
		*end = 0;
		if (!*begin)
			continue;
		if (strncmp(begin, "refused ", 8) == 0) {
			is_fine = is_refused(path, begin, &is_open);
		} else {
			r = run_line(path, begin, &is_open);
			is_fine = !r || say_failed(r);
		}
		if (!is_fine)
			fprintf(stderr, "change_pool: line %u\n", nr);
	}
	if (is_fine && is_open)
		return usage("the last line", "neither commit nor abort");
	return is_fine;
}

/* --- beginning --- */

static bool open_pool(struct path *path, struct thinp_io *io, uint32_t flags, uint64_t nr_data_blocks)
{
	struct thinp_pool_opts opts = {.size = sizeof(opts), .flags = THINP_POOL_WRITABLE | flags};
	struct thinp_pool_info info = {.size = sizeof(info)};
	int r;

	opts.nr_data_blocks = nr_data_blocks;
	opts.pre_commit = flush_data;
	opts.pre_commit_ctx = path;
	r = thinp_pool_open(io, &opts, &path->pool);
	if (r)
		return say_failed(r);
	thinp_pool_get_info(path->pool, &info);
	path->block_bytes = (uint64_t)info.data_block_sectors * SECTOR;
	path->serial = info.transaction_id * 1000000 + info.nr_metadata_allocated; /* no two runs alike, most often */
	return true;
}

static bool run(const char *metadata, const char *data, uint32_t flags, uint64_t nr_data_blocks)
{
	struct path path = {.data = open(data, O_RDWR | O_CLOEXEC)};
	struct thinp_io *io = NULL;
	bool is_fine;
	int r;

	if (path.data < 0)
		return usage("cannot be opened", data);
	r = thinp_io_open(metadata, NULL, &io);
	is_fine = r ? say_failed(r) : open_pool(&path, io, flags, nr_data_blocks) && run_lines(&path, stdin);
	thinp_pool_close(path.pool);
	thinp_io_close(io);
	return close(path.data) == 0 && is_fine;
}

int main(int argc, char **argv)
{
	uint64_t nr_data_blocks = 0;
	uint32_t flags = 0;
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--create") == 0 && i + 1 < argc) {
			flags |= THINP_POOL_CREATE;
			nr_data_blocks = strtoull(argv[++i], NULL, 0);
		} else if (strcmp(argv[i], "--ignore-needs-check") == 0) {
			flags |= THINP_POOL_IGNORE_NEEDS_CHECK;
		} else {
			return usage("unknown argument", argv[i]);
		}
	}
	if (argc - i != 2)
		return usage("wanted", "METADATA DATA");
	return run(argv[i], argv[i + 1], flags, nr_data_blocks) ? 0 : 1;
}
