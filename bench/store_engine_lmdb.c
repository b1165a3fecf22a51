/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * store_engine_lmdb.c - the same in LMDB, with the settings that its documentation names for such keys.
 */
#ifdef THINP_WITH_LMDB

#include "store_engine.h"

#include <lmdb.h>

#include <stdlib.h>
#include <string.h>

#define MAP_SIZE (UINT64_C(1) << 30)

struct db {
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *txn;
	MDB_cursor *cursor;
};

static MDB_val val(const uint64_t *number)
{
	return (MDB_val){.mv_size = sizeof(*number), .mv_data = (void *)(uintptr_t)number};
}

static void close_db(void *ctx)
{
	struct db *db = ctx;

	if (db->txn)
		mdb_txn_abort(db->txn);
	if (db->env)
		mdb_env_close(db->env);
	free(db);
}

static int begin_with(struct db *db, unsigned int flags)
{
	return mdb_txn_begin(db->env, NULL, flags, &db->txn);
}

static int begin(void *ctx)
{
	return begin_with(ctx, 0);
}

static int commit(void *ctx)
{
	struct db *db = ctx;
	int r = mdb_txn_commit(db->txn);

	db->txn = NULL;
	return r;
}

static int make_tree(struct db *db)
{
	int r = begin(db);

	if (!r)
		r = mdb_dbi_open(db->txn, NULL, MDB_INTEGERKEY | MDB_CREATE, &db->dbi);
	return r ? r : commit(db);
}

static void *open_db(const char *path)
{
	struct db *db = calloc(1, sizeof(*db));
	int r = db ? mdb_env_create(&db->env) : -1;

	if (!r)
		r = mdb_env_set_mapsize(db->env, MAP_SIZE);
	if (!r)
		r = mdb_env_open(db->env, path, MDB_NOSUBDIR | MDB_NOTLS | MDB_NOLOCK, 0600);
	if (!r)
		r = make_tree(db);
	if (!r)
		return db;
	if (db)
		close_db(db);
	return NULL;
}

static int put_with(struct db *db, const uint64_t *key, const uint64_t *value, unsigned int flags)
{
	MDB_val k = val(key), v = val(value);

	return mdb_put(db->txn, db->dbi, &k, &v, flags);
}

static int put(void *ctx, uint64_t key, uint64_t value)
{
	return put_with(ctx, &key, &value, 0);
}

static int put_sorted(void *ctx, const uint64_t *keys, const uint64_t *values, size_t nr)
{
	struct db *db = ctx;
	MDB_cursor *cursor;
	int r = mdb_cursor_open(db->txn, db->dbi, &cursor);

	if (r)
		return r;
	for (size_t i = 0; i < nr && !r; i++) {
		MDB_val k = val(&keys[i]), v = val(&values[i]);

		r = mdb_cursor_put(cursor, &k, &v, MDB_APPEND);
	}
	mdb_cursor_close(cursor);
	return r;
}

static int del(void *ctx, uint64_t key)
{
	struct db *db = ctx;
	MDB_val k = val(&key);

	return mdb_del(db->txn, db->dbi, &k, NULL);
}

static int look_begin(void *ctx)
{
	return begin_with(ctx, MDB_RDONLY);
}

static int get(void *ctx, uint64_t key, uint64_t *value)
{
	struct db *db = ctx;
	MDB_val k = val(&key), v;
	int r = mdb_get(db->txn, db->dbi, &k, &v);

	if (!r)
		memcpy(value, v.mv_data, sizeof(*value));
	return r;
}

static int get_many(void *ctx, const uint64_t *keys, size_t nr, uint64_t *values)
{
	int r = 0;

	for (size_t i = 0; i < nr && !r; i++)
		r = get(ctx, keys[i], &values[i]);
	return r;
}

static int scan(void *ctx, uint64_t *sum)
{
	struct db *db = ctx;
	MDB_cursor *cursor;
	MDB_val k, v;
	int r = mdb_cursor_open(db->txn, db->dbi, &cursor);

	if (r)
		return r;
	while (!(r = mdb_cursor_get(cursor, &k, &v, MDB_NEXT))) {
		uint64_t value;

		memcpy(&value, v.mv_data, sizeof(value));
		*sum += value;
	}
	mdb_cursor_close(cursor);
	return r == MDB_NOTFOUND ? 0 : r;
}

static void look_end(void *ctx)
{
	struct db *db = ctx;

	mdb_txn_abort(db->txn);
	db->txn = NULL;
}

const struct engine engine_lmdb = {
	.name = "lmdb",
	.open = open_db,
	.close = close_db,
	.begin = begin,
	.put = put,
	.put_sorted = put_sorted,
	.del = del,
	.commit = commit,
	.look_begin = look_begin,
	.get = get,
	.get_many = get_many,
	.scan = scan,
	.look_end = look_end,
};

#endif
