/* SPDX-License-Identifier: BSD-3-Clause */
/* A map from numbers to numbers in a file, with 15 places for snapshots: see kv.sh for what it can do. Each run changes
 * the file with one commit, or not at all. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <thinp/btree.h>
#include <thinp/error.h>
#include <thinp/io.h>
#include <thinp/op.h>
#include <thinp/store.h>

enum { MAP = 0, NR_BLOCKS = 64, FEW_BLOCKS = 32 }; /* root 0 is the map, the others are snapshots */

static const struct thinp_btree_type map_type = {.size = sizeof(map_type), .nr_levels = 1, .value_size = 8};

static void to_disk(uint64_t number, uint8_t *value_le)
{
	for (int i = 0; i < 8; i++)
		value_le[i] = (uint8_t)(number >> 8 * i);
}

static uint64_t from_disk(const uint8_t *value_le)
{
	uint64_t number = 0;

	for (int i = 7; i >= 0; i--)
		number = number << 8 | value_le[i];
	return number;
}

/* --- changes: each is called in a transaction, which is committed when it returns 0 --- */

static int set(struct thinp_store *store, const uint64_t *args)
{
	uint8_t value_le[8];
	thinp_block_t root;
	int r = thinp_store_get_root(store, MAP, &root);

	to_disk(args[1], value_le);
	if (!r && !root)
		r = thinp_btree_create(thinp_store_tm(store), &map_type, &root);
	if (!r)
		r = thinp_btree_insert(thinp_store_tm(store), &map_type, root, &args[0], value_le, &root, NULL);
	return r ? r : thinp_store_set_root(store, MAP, root);
}

static int del(struct thinp_store *store, const uint64_t *args)
{
	thinp_block_t root;
	int r = thinp_store_get_root(store, MAP, &root);

	if (!r && !root)
		r = THINP_ENODATA;
	if (!r)
		r = thinp_btree_remove(thinp_store_tm(store), &map_type, root, &args[0], &root);
	return r ? r : thinp_store_set_root(store, MAP, root);
}

/* Makes one root the same tree as another: nothing is copied, the tree gets one more reference. */
static int share(struct thinp_store *store, uint64_t from, uint64_t to)
{
	struct thinp_tm *tm = thinp_store_tm(store);
	thinp_block_t tree, before;
	int r = from < THINP_STORE_NR_ROOTS && to < THINP_STORE_NR_ROOTS ? 0 : THINP_EINVAL;

	if (!r)
		r = thinp_store_get_root(store, (uint32_t)from, &tree);
	if (!r && !tree)
		r = THINP_ENODATA;
	if (!r)
		r = thinp_store_get_root(store, (uint32_t)to, &before);
	if (!r)
		r = thinp_tm_inc(tm, tree, 1, THINP_CAUSE_USER);
	if (!r && before)
		r = thinp_btree_del(tm, &map_type, before);
	return r ? r : thinp_store_set_root(store, (uint32_t)to, tree);
}

static int snapshot(struct thinp_store *store, const uint64_t *args)
{
	return share(store, MAP, args[0]);
}

static int rollback(struct thinp_store *store, const uint64_t *args)
{
	return share(store, args[0], MAP);
}

/* --- reading, through a view --- */

static int get(struct thinp_reader *reader, thinp_block_t root, const uint64_t *args)
{
	uint8_t value_le[8];
	int r = thinp_btree_lookup(reader, &map_type, root, &args[0], value_le);

	if (!r)
		printf("%" PRIu64 "\n", from_disk(value_le));
	return r;
}

static int print_span(void *ctx, const struct thinp_btree_span *span)
{
	const uint8_t *keys_le = span->keys_le, *values_le = span->values_le;

	(void)ctx;
	for (size_t i = 0; i < span->nr_entries; i++)
		printf("%" PRIu64 " %" PRIu64 "\n", from_disk(keys_le + 8 * i), from_disk(values_le + 8 * i));
	return 0;
}

static int list(struct thinp_reader *reader, thinp_block_t root, const uint64_t *args)
{
	(void)args;
	return thinp_btree_walk(reader, &map_type, root, print_span, NULL);
}

/* --- the command line --- */

struct command {
	const char *name;
	int nr_args;
	int (*change)(struct thinp_store *store, const uint64_t *args);
	int (*read)(struct thinp_reader *reader, thinp_block_t root, const uint64_t *args);
};

static const struct command commands[] = {
	{.name = "set", .nr_args = 2, .change = set},           {.name = "get", .nr_args = 1, .read = get},
	{.name = "del", .nr_args = 1, .change = del},           {.name = "list", .nr_args = 0, .read = list},
	{.name = "snapshot", .nr_args = 1, .change = snapshot}, {.name = "rollback", .nr_args = 1, .change = rollback},
};

static int grow_if_full(struct thinp_store *store)
{
	struct thinp_store_info info = {.size = sizeof(info)};

	thinp_store_get_info(store, &info);
	return info.nr_available < FEW_BLOCKS ? thinp_store_grow(store, 2 * info.nr_blocks) : 0;
}

static int change(struct thinp_store *store, const struct command *command, const uint64_t *args)
{
	int r = thinp_store_begin(store);

	if (r)
		return r;
	r = grow_if_full(store);
	if (!r)
		r = command->change(store, args);
	if (!r)
		r = thinp_store_commit(store);
	return r; /* whatever failed: closing the store forgets a transaction that is still open */
}

static int read_last_commit(struct thinp_store *store, const struct command *command, const uint64_t *args)
{
	struct thinp_view *view;
	thinp_block_t root;
	int r = thinp_view_open(store, &view);

	if (r)
		return r;
	r = thinp_view_get_root(view, MAP, &root);
	if (!r)
		r = root ? command->read(thinp_view_reader(view), root, args) : THINP_ENODATA;
	thinp_view_close(view);
	return r;
}

static int run(const char *path, const struct command *command, const uint64_t *args)
{
	const struct thinp_io_opts io_opts = {
		.size = sizeof(io_opts),
		.flags = command->change ? THINP_IO_CREATE : THINP_IO_READ_ONLY,
		.nr_blocks = command->change ? NR_BLOCKS : 0,
	};
	const struct thinp_store_opts opts = {
		.size = sizeof(opts),
		.flags = command->change ? THINP_STORE_CREATE : THINP_STORE_READ_ONLY,
	};
	struct thinp_store *store = NULL;
	struct thinp_io *io;
	int r = thinp_io_open_file(path, &io_opts, &io);

	if (r)
		return r;
	r = thinp_store_open(io, &opts, &store);
	if (!r)
		r = (command->change ? change : read_last_commit)(store, command, args);
	thinp_store_close(store);
	thinp_io_close(io);
	return r;
}

static int parse(char **texts, int nr, uint64_t *args)
{
	for (int i = 0; i < nr; i++) {
		char *end;

		errno = 0;
		args[i] = strtoull(texts[i], &end, 10);
		if (errno || end == texts[i] || *end)
			return -1;
	}
	return 0;
}

static const struct command *find(int argc, char **argv)
{
	for (size_t i = 0; argc >= 3 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(argv[2], commands[i].name) && argc == 3 + commands[i].nr_args)
			return &commands[i];
	return NULL;
}

int main(int argc, char **argv)
{
	const struct command *command = find(argc, argv);
	uint64_t args[2];
	int r;

	if (!command || parse(argv + 3, command->nr_args, args)) {
		fprintf(stderr, "usage: kv FILE set KEY VALUE | get KEY | del KEY | list | snapshot 1-15 | rollback "
				"1-15\n");
		return 2;
	}
	r = run(argv[1], command, args);
	if (r)
		fprintf(stderr, "kv: %s\n", thinp_strerror(r));
	return r || fflush(stdout) ? 1 : 0;
}
