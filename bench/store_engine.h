/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store_engine.h - what is compared: ordered maps from 64-bit numbers to 64-bit numbers in a file, with durable commits.
 */
#ifndef BENCH_STORE_ENGINE_H
#define BENCH_STORE_ENGINE_H

#include <stddef.h>
#include <stdint.h>

/* All functions that give an int: 0, or anything else for a failure. */
struct engine {
	const char *name;
	void *(*open)(const char *path); /* of an empty or missing file; NULL: failed */
	void (*close)(void *db);

	int (*begin)(void *db); /* a transaction that changes */
	int (*put)(void *db, uint64_t key, uint64_t value);
	int (*put_sorted)(void *db, const uint64_t *keys, const uint64_t *values, size_t nr); /* behind all there are */
	int (*del)(void *db, uint64_t key);
	int (*commit)(void *db);

	int (*look_begin)(void *db); /* at the last commit */
	int (*get)(void *db, uint64_t key, uint64_t *value);
	int (*get_many)(void *db, const uint64_t *keys, size_t nr, uint64_t *values);
	int (*scan)(void *db, uint64_t *sum); /* of all values */
	void (*look_end)(void *db);
};

extern const struct engine engine_thinp;
extern const struct engine engine_lmdb; /* with THINP_WITH_LMDB */

#endif
