/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peers/engine_rocksdb.c - RocksDB through its C interface.
 *
 * A transaction is a write batch, written with sync=1: its log is flushed once for each. Keys are big-endian, so that its
 * default comparator, which compares bytes and is its fastest, has them in the order of the numbers. No compression, as
 * nobody else compresses; a Bloom filter of 10 bits for each key, as its documentation advises for look-ups; a block cache
 * for all of it; two threads in the background. Loading is done with its writer of sorted files. What was loaded or
 * written in bulk is flushed from memory, and looks begin after that.
 */
#include "engine.h"

#include <rocksdb/c.h>

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLUSH_FROM = 50000 }; /* operations of a commit that is bulk */

struct db {
	rocksdb_t *rocks;
	rocksdb_options_t *options;
	rocksdb_writeoptions_t *durable;
	rocksdb_writebatch_t *batch;
	char folder[4096];
};

struct look {
	struct db *db;
	const rocksdb_snapshot_t *snapshot;
	rocksdb_readoptions_t *options;
	rocksdb_iterator_t *iterator; /* of get_ge() */
};

static uint64_t bytes_of(uint64_t key)
{
	return htobe64(key);
}

static uint64_t number_at(const char *bytes)
{
	uint64_t number;

	memcpy(&number, bytes, sizeof(number));
	return number;
}

static int failed(char *error)
{
	if (!error)
		return 0;
	fprintf(stderr, "rocksdb: %s\n", error);
	free(error);
	return -1;
}

static rocksdb_options_t *make_options(const struct engine_size *size)
{
	rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
	rocksdb_cache_t *cache = rocksdb_cache_create_lru(size->cache_bytes);
	rocksdb_options_t *options = rocksdb_options_create();

	rocksdb_block_based_options_set_block_cache(table, cache);
	rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(10));
	rocksdb_options_set_block_based_table_factory(options, table);
	rocksdb_options_set_create_if_missing(options, 1);
	rocksdb_options_set_compression(options, rocksdb_no_compression);
	rocksdb_options_increase_parallelism(options, 2);
	rocksdb_cache_destroy(cache); /* the table has it now */
	rocksdb_block_based_options_destroy(table);
	return options;
}

static void close_db(void *ctx)
{
	struct db *db = ctx;

	if (db->rocks)
		rocksdb_close(db->rocks);
	if (db->batch)
		rocksdb_writebatch_destroy(db->batch);
	rocksdb_writeoptions_destroy(db->durable);
	rocksdb_options_destroy(db->options);
	free(db);
}

static int open_db(const char *folder, const struct engine_size *size, void **out)
{
	struct db *db = calloc(1, sizeof(*db));
	char *error = NULL;

	if (!db)
		return -1;
	snprintf(db->folder, sizeof(db->folder), "%s", folder);
	db->options = make_options(size);
	db->durable = rocksdb_writeoptions_create();
	rocksdb_writeoptions_set_sync(db->durable, 1);
	db->batch = rocksdb_writebatch_create();
	db->rocks = rocksdb_open(db->options, folder, &error);
	if (failed(error)) {
		close_db(db);
		return -1;
	}
	*out = db;
	return 0;
}

static int write_sorted_file(struct db *db, const char *path, const uint64_t *keys, const uint64_t *values, size_t nr)
{
	rocksdb_envoptions_t *env = rocksdb_envoptions_create();
	rocksdb_sstfilewriter_t *writer = rocksdb_sstfilewriter_create(env, db->options);
	char *error = NULL;

	rocksdb_sstfilewriter_open(writer, path, &error);
	for (size_t i = 0; i < nr && !error; i++) {
		uint64_t key = bytes_of(keys[i]);

		rocksdb_sstfilewriter_put(writer, (const char *)&key, 8, (const char *)&values[i], 8, &error);
	}
	if (!error)
		rocksdb_sstfilewriter_finish(writer, &error);
	rocksdb_sstfilewriter_destroy(writer);
	rocksdb_envoptions_destroy(env);
	return failed(error);
}

static int load(void *ctx, const uint64_t *keys, const uint64_t *values, size_t nr)
{
	rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
	struct db *db = ctx;
	char *error = NULL, path[4200];
	const char *const paths[] = {path};
	int r;

	snprintf(path, sizeof(path), "%s/load.sst", db->folder);
	rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
	r = write_sorted_file(db, path, keys, values, nr);
	if (!r)
		rocksdb_ingest_external_file(db->rocks, paths, 1, options, &error);
	rocksdb_ingestexternalfileoptions_destroy(options);
	return r ? r : failed(error);
}

static int begin(void *ctx)
{
	struct db *db = ctx;

	rocksdb_writebatch_clear(db->batch);
	return 0;
}

static int put(void *ctx, uint64_t key, uint64_t value)
{
	uint64_t bytes = bytes_of(key);
	struct db *db = ctx;

	rocksdb_writebatch_put(db->batch, (const char *)&bytes, 8, (const char *)&value, 8);
	return 0;
}

static int put_sorted(void *ctx, const uint64_t *keys, const uint64_t *values, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		put(ctx, keys[i], values[i]);
	return 0;
}

static int del(void *ctx, uint64_t key)
{
	uint64_t bytes = bytes_of(key);
	struct db *db = ctx;

	rocksdb_writebatch_delete(db->batch, (const char *)&bytes, 8);
	return 0;
}

static int del_sorted(void *ctx, const uint64_t *keys, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		del(ctx, keys[i]);
	return 0;
}

static int commit(void *ctx)
{
	struct db *db = ctx;
	char *error = NULL;

	rocksdb_write(db->rocks, db->durable, db->batch, &error);
	if (!error && rocksdb_writebatch_count(db->batch) >= FLUSH_FROM) {
		rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();

		rocksdb_flush(db->rocks, flush, &error);
		rocksdb_flushoptions_destroy(flush);
	}
	return failed(error);
}

static void forget_snapshot(struct look *look)
{
	rocksdb_iter_destroy(look->iterator);
	rocksdb_release_snapshot(look->db->rocks, look->snapshot);
}

static void take_snapshot(struct look *look)
{
	look->snapshot = rocksdb_create_snapshot(look->db->rocks);
	rocksdb_readoptions_set_snapshot(look->options, look->snapshot);
	look->iterator = rocksdb_create_iterator(look->db->rocks, look->options);
}

static int look_begin(void *ctx, void **out)
{
	struct look *look = calloc(1, sizeof(*look));

	if (!look)
		return -1;
	look->db = ctx;
	look->options = rocksdb_readoptions_create();
	take_snapshot(look);
	*out = look;
	return 0;
}

static int look_renew(void *ctx)
{
	forget_snapshot(ctx);
	take_snapshot(ctx);
	return 0;
}

static void look_end(void *ctx)
{
	struct look *look = ctx;

	forget_snapshot(look);
	rocksdb_readoptions_destroy(look->options);
	free(look);
}

static int take_slice(rocksdb_pinnableslice_t *slice, uint64_t *value)
{
	size_t nbytes;
	const char *bytes = rocksdb_pinnableslice_value(slice, &nbytes);

	if (!bytes)
		return -1;
	*value = number_at(bytes);
	rocksdb_pinnableslice_destroy(slice);
	return 0;
}

static int get(void *ctx, uint64_t key, uint64_t *value)
{
	uint64_t bytes = bytes_of(key);
	struct look *look = ctx;
	char *error = NULL;
	rocksdb_pinnableslice_t *slice =
		rocksdb_get_pinned(look->db->rocks, look->options, (const char *)&bytes, 8, &error);

	return failed(error) || !slice ? -1 : take_slice(slice, value);
}

static int get_many(void *ctx, const uint64_t *keys, size_t nr, uint64_t *values)
{
	size_t lengths[ENGINE_MOST_AT_ONCE] = {0}, found[ENGINE_MOST_AT_ONCE];
	const char *bytes[ENGINE_MOST_AT_ONCE] = {NULL};
	char *texts[ENGINE_MOST_AT_ONCE], *errors[ENGINE_MOST_AT_ONCE];
	uint64_t numbers[ENGINE_MOST_AT_ONCE];
	struct look *look = ctx;
	int r = 0;

	for (size_t i = 0; i < nr; i++) {
		numbers[i] = bytes_of(keys[i]);
		bytes[i] = (const char *)&numbers[i];
		lengths[i] = 8;
	}
	rocksdb_multi_get(look->db->rocks, look->options, nr, bytes, lengths, texts, found, errors);
	for (size_t i = 0; i < nr; i++) {
		if (failed(errors[i]) || !texts[i])
			r = -1;
		else
			values[i] = number_at(texts[i]);
		free(texts[i]);
	}
	return r;
}

static int get_ge(void *ctx, uint64_t key, uint64_t *found, uint64_t *value)
{
	uint64_t bytes = bytes_of(key);
	struct look *look = ctx;
	size_t nbytes;

	rocksdb_iter_seek(look->iterator, (const char *)&bytes, 8);
	if (!rocksdb_iter_valid(look->iterator))
		return -1;
	*found = bytes_of(number_at(rocksdb_iter_key(look->iterator, &nbytes)));
	*value = number_at(rocksdb_iter_value(look->iterator, &nbytes));
	return 0;
}

static int scan_next(void *ctx, uint64_t *sum)
{
	struct look *look = ctx;
	size_t nbytes;

	for (rocksdb_iter_seek_to_first(look->iterator); rocksdb_iter_valid(look->iterator);
	     rocksdb_iter_next(look->iterator))
		*sum += number_at(rocksdb_iter_value(look->iterator, &nbytes));
	return 0;
}

const struct engine engine_rocksdb = {
	.name = "rocksdb",
	.open = open_db,
	.close = close_db,
	.load = load,
	.begin = begin,
	.put = put,
	.put_sorted = put_sorted,
	.del = del,
	.del_sorted = del_sorted,
	.commit = commit,
	.look_begin = look_begin,
	.look_renew = look_renew,
	.look_end = look_end,
	.get = get,
	.get_many = get_many,
	.get_ge = get_ge,
	.scan_next = scan_next,
};
