/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peers/engine.h - what is compared: ordered maps from 64-bit numbers to 64-bit numbers in a folder, with durable commits.
 *
 * A *db* is open once in a process and changed by one thread at a time. A *look* is one thread's way to read the last
 * commit; it shows what that was when the look began or was renewed.
 */
#ifndef BENCH_PEERS_ENGINE_H
#define BENCH_PEERS_ENGINE_H

#include <stddef.h>
#include <stdint.h>

/* How large it will become at most: what the caches and the file are laid out for. */
struct engine_size {
	uint64_t nr_keys;
	uint64_t cache_bytes; /* enough for all of it; each engine is given the same */
};

/* All functions that give an int: 0, or anything else for a failure. */
struct engine {
	const char *name;
	int (*open)(const char *folder, const struct engine_size *size, void **db); /* makes it in an empty folder */
	void (*close)(void *db);
	uint64_t (*used_bytes)(void *db); /* of the file; NULL: all files of the folder count as they are */

	/* An empty map gets all its keys, ascending, in the fastest way the engine has. Durable when it returns. */
	int (*load)(void *db, const uint64_t *keys, const uint64_t *values, size_t nr);

	int (*begin)(void *db); /* a transaction that changes */
	int (*put)(void *db, uint64_t key, uint64_t value);
	int (*put_sorted)(void *db, const uint64_t *keys, const uint64_t *values, size_t nr);
	int (*del)(void *db, uint64_t key); /* of a key that is there */
	int (*del_sorted)(void *db, const uint64_t *keys, size_t nr);
	int (*commit)(void *db); /* durable when it returns */

	int (*look_begin)(void *db, void **look);
	int (*look_renew)(void *look); /* at the last commit again */
	void (*look_end)(void *look);
	int (*get)(void *look, uint64_t key, uint64_t *value);
	/* NULL: one by one is how it is done */
	int (*get_many)(void *look, const uint64_t *keys, size_t nr, uint64_t *values);
	int (*get_ge)(void *look, uint64_t key, uint64_t *found, uint64_t *value);
	int (*scan_next)(void *look, uint64_t *sum);  /* adds up all values, entry by entry */
	int (*scan_spans)(void *look, uint64_t *sum); /* the same in larger pieces; NULL: there are none */
};

enum { ENGINE_MOST_AT_ONCE = 1024 }; /* keys of get_many() */

extern const struct engine engine_thinp;
extern const struct engine engine_lmdb;
extern const struct engine engine_sqlite;
extern const struct engine engine_sqlite_rollback;
extern const struct engine engine_rocksdb;
extern const struct engine engine_wiredtiger;

#endif
