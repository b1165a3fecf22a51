/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peers/peers_bench.c - the table: a map from numbers to numbers in a store, and the same map in other libraries.
 *
 * A benchmark is named peers/OPERATION/ENGINE/KEYS. They are in an order in which most of them find the map that they need:
 * see bed.h. bench/run carries them out by turns.
 */
#include "work.h"

/* Of a larger map only so many are changed or looked up in one benchmark. */
enum { MOST_CHANGES = 300000, LOOKUPS = 400000, COLD_LOOKUPS = 2000, NR_SCANS = 3 };

static const int64_t three_sizes[] = {100000, 1000000, 10000000, 0};
static const int64_t one_size[] = {1000000, 0};

#define ROW(NAME, ENGINE, SIZES, SETUP, WORK, PARAM, TIMES)                                                            \
	{                                                                                                              \
		.name = "peers/" NAME "/" #ENGINE, .setup = bed_begin_##SETUP, .work = work_##WORK,                    \
		.teardown = bed_end, .arg = &(const struct what){.engine = &engine_##ENGINE, .param = (PARAM)},        \
		.sizes = (SIZES), .in_microseconds = true, .nr_times = (TIMES)                                         \
	}

#define COMMIT_ROWS(ENGINE)                                                                                            \
	ROW("commit_1", ENGINE, one_size, full, commits, 1, 300),                                                      \
		ROW("commit_10", ENGINE, one_size, full, commits, 10, 200),                                            \
		ROW("commit_100", ENGINE, one_size, full, commits, 100, 100),                                          \
		ROW("commit_1000", ENGINE, one_size, full, commits, 1000, 30)

#define ENGINE_ROWS(ENGINE, SIZES)                                                                                     \
	ROW("load", ENGINE, SIZES, load, load, 0, 1), ROW("lookup_hot", ENGINE, SIZES, look, lookup, LOOKUPS, 1),      \
		ROW("lookup_many", ENGINE, SIZES, look, lookup_many, LOOKUPS, 1),                                      \
		ROW("lookup_ge", ENGINE, SIZES, look, lookup_ge, LOOKUPS, 1),                                          \
		ROW("scan_next", ENGINE, SIZES, look, scan_next, 0, NR_SCANS),                                         \
		ROW("scan_spans", ENGINE, SIZES, look, scan_spans, 0, NR_SCANS),                                       \
		ROW("lookup_cold", ENGINE, SIZES, cold, lookup, COLD_LOOKUPS, 1),                                      \
		ROW("readers_1", ENGINE, one_size, look, readers, 1, 1),                                               \
		ROW("readers_2", ENGINE, one_size, look, readers, 2, 1),                                               \
		ROW("readers_8", ENGINE, one_size, look, readers, 8, 1),                                               \
		ROW("readers_1_writer", ENGINE, one_size, full, readers_and_writer, 1, 1),                             \
		ROW("readers_2_writer", ENGINE, one_size, full, readers_and_writer, 2, 1),                             \
		ROW("readers_8_writer", ENGINE, one_size, full, readers_and_writer, 8, 1), COMMIT_ROWS(ENGINE),        \
		ROW("overwrite_one", ENGINE, SIZES, full, overwrite, MOST_CHANGES, 1),                                 \
		ROW("overwrite_batch", ENGINE, SIZES, full, put_batch, MOST_CHANGES, 1),                               \
		ROW("remove_one", ENGINE, SIZES, full, remove, MOST_CHANGES, 1),                                       \
		ROW("remove_batch", ENGINE, SIZES, full, remove_batch, MOST_CHANGES, 1),                               \
		ROW("insert_commit_1000", ENGINE, SIZES, full, insert_commits, 0, 30),                                 \
		ROW("insert_ascending", ENGINE, SIZES, empty, insert_ascending, 0, 1),                                 \
		ROW("insert_random", ENGINE, SIZES, empty, insert_random, 0, 1),                                       \
		ROW("insert_batch", ENGINE, SIZES, empty, put_batch, 0, 1)

const struct bench benches[] = {
	ENGINE_ROWS(thinp, three_sizes),
#ifdef THINP_WITH_LMDB
	ENGINE_ROWS(lmdb, three_sizes),
#endif
#ifdef THINP_WITH_SQLITE
	ENGINE_ROWS(sqlite, one_size),
	COMMIT_ROWS(sqlite_rollback),
#endif
#ifdef THINP_WITH_ROCKSDB
	ENGINE_ROWS(rocksdb, one_size),
#endif
#ifdef THINP_WITH_WIREDTIGER
	ENGINE_ROWS(wiredtiger, one_size),
#endif
	{.name = NULL},
};
