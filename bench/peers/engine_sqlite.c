/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peers/engine_sqlite.c - SQLite: one table of two integers, the first one its key.
 *
 * INTEGER PRIMARY KEY makes the table itself the B-tree of the keys; WITHOUT ROWID would store them in its slower general
 * form. journal_mode=WAL costs one flush for a commit, where the rollback journal costs several; synchronous=FULL makes that
 * flush happen, which NORMAL would leave out. engine_sqlite_rollback has the rollback journal, in its form PERSIST, which
 * neither removes nor cuts the file: for the rows of commits, to show what the choice is worth. Checkpoints come as by
 * default, every 1000 pages. locking_mode stays NORMAL, since readers have connections of their own. Statements are prepared
 * once. mmap_size lets it read its file as LMDB does.
 */
#include "engine.h"

#include <sqlite3.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum statement { BEGIN, COMMIT, PUT, DEL, GET, GET_GE, SCAN, NR_STATEMENTS };

static const char *const texts[NR_STATEMENTS] = {
	[BEGIN] = "BEGIN",
	[COMMIT] = "COMMIT",
	[PUT] = "INSERT OR REPLACE INTO map(key, value) VALUES(?1, ?2)",
	[DEL] = "DELETE FROM map WHERE key = ?1",
	[GET] = "SELECT value FROM map WHERE key = ?1",
	[GET_GE] = "SELECT key, value FROM map WHERE key >= ?1 ORDER BY key LIMIT 1",
	[SCAN] = "SELECT value FROM map ORDER BY key",
};

/* A connection: the writer has one, and each look. */
struct db {
	sqlite3 *sqlite;
	sqlite3_stmt *statements[NR_STATEMENTS];
	char path[4096];
	struct engine_size size;
	const char *journal; /* mode */
};

/* Numbers without a sign, in the order of numbers with one. */
static sqlite3_int64 with_sign(uint64_t key)
{
	return (sqlite3_int64)(key ^ UINT64_C(1) << 63);
}

static uint64_t without_sign(sqlite3_int64 key)
{
	return (uint64_t)key ^ UINT64_C(1) << 63;
}

static void close_db(void *ctx)
{
	struct db *db = ctx;

	for (int i = 0; i < NR_STATEMENTS; i++)
		sqlite3_finalize(db->statements[i]);
	sqlite3_close(db->sqlite);
	free(db);
}

static int run(struct db *db, const char *format, ...)
{
	char text[256];
	va_list values;

	va_start(values, format);
	vsnprintf(text, sizeof(text), format, values);
	va_end(values);
	return sqlite3_exec(db->sqlite, text, NULL, NULL, NULL);
}

static int set_up(struct db *db)
{
	int r = run(db, "PRAGMA page_size=4096");

	if (!r)
		r = run(db, "PRAGMA journal_mode=%s", db->journal);
	if (!r)
		r = run(db, "PRAGMA synchronous=FULL");
	if (!r)
		r = run(db, "PRAGMA cache_size=-%lld", (long long)(db->size.cache_bytes / 1024));
	if (!r)
		r = run(db, "PRAGMA mmap_size=%lld", 1LL << 30);
	return r ? r : run(db, "CREATE TABLE IF NOT EXISTS map(key INTEGER PRIMARY KEY, value INTEGER NOT NULL)");
}

static int connect(struct db *db)
{
	int r = sqlite3_open(db->path, &db->sqlite);

	if (!r)
		r = set_up(db);
	for (int i = 0; i < NR_STATEMENTS && !r; i++)
		r = sqlite3_prepare_v3(db->sqlite, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &db->statements[i], NULL);
	return r;
}

static int open_path(const char *path, const struct engine_size *size, const char *journal, void **out)
{
	struct db *db = calloc(1, sizeof(*db));
	int r;

	if (!db)
		return -1;
	db->size = *size;
	db->journal = journal;
	snprintf(db->path, sizeof(db->path), "%s", path);
	r = connect(db);
	if (r)
		close_db(db);
	else
		*out = db;
	return r;
}

static int open_with(const char *folder, const struct engine_size *size, const char *journal, void **out)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/db", folder);
	return open_path(path, size, journal, out);
}

static int open_wal(const char *folder, const struct engine_size *size, void **out)
{
	return open_with(folder, size, "WAL", out);
}

static int open_rollback(const char *folder, const struct engine_size *size, void **out)
{
	return open_with(folder, size, "PERSIST", out);
}

/* Of a statement without rows. */
static int carry_out(struct db *db, enum statement which)
{
	int r = sqlite3_step(db->statements[which]);

	sqlite3_reset(db->statements[which]);
	return r == SQLITE_DONE ? 0 : r;
}

static int begin(void *ctx)
{
	return carry_out(ctx, BEGIN);
}

static int commit(void *ctx)
{
	return carry_out(ctx, COMMIT);
}

static int put(void *ctx, uint64_t key, uint64_t value)
{
	struct db *db = ctx;

	sqlite3_bind_int64(db->statements[PUT], 1, with_sign(key));
	sqlite3_bind_int64(db->statements[PUT], 2, (sqlite3_int64)value);
	return carry_out(db, PUT);
}

static int put_sorted(void *ctx, const uint64_t *keys, const uint64_t *values, size_t nr)
{
	int r = 0;

	for (size_t i = 0; i < nr && !r; i++)
		r = put(ctx, keys[i], values[i]);
	return r;
}

static int load(void *ctx, const uint64_t *keys, const uint64_t *values, size_t nr)
{
	int r = begin(ctx);

	if (!r)
		r = put_sorted(ctx, keys, values, nr);
	return r ? r : commit(ctx);
}

static int del(void *ctx, uint64_t key)
{
	struct db *db = ctx;

	sqlite3_bind_int64(db->statements[DEL], 1, with_sign(key));
	return carry_out(db, DEL);
}

static int del_sorted(void *ctx, const uint64_t *keys, size_t nr)
{
	int r = 0;

	for (size_t i = 0; i < nr && !r; i++)
		r = del(ctx, keys[i]);
	return r;
}

/* --- looking: a connection of its own, in a transaction that reads --- */

static int look_begin(void *ctx, void **out)
{
	struct db *db = ctx;
	int r = open_path(db->path, &db->size, db->journal, out);

	return r ? r : begin(*out);
}

static int look_renew(void *ctx)
{
	int r = commit(ctx);

	return r ? r : begin(ctx);
}

static void look_end(void *ctx)
{
	close_db(ctx);
}

static int get(void *ctx, uint64_t key, uint64_t *value)
{
	struct db *db = ctx;
	sqlite3_stmt *get = db->statements[GET];
	int r;

	sqlite3_bind_int64(get, 1, with_sign(key));
	r = sqlite3_step(get);
	if (r == SQLITE_ROW)
		*value = (uint64_t)sqlite3_column_int64(get, 0);
	sqlite3_reset(get);
	return r == SQLITE_ROW ? 0 : r;
}

static int get_ge(void *ctx, uint64_t key, uint64_t *found, uint64_t *value)
{
	struct db *db = ctx;
	sqlite3_stmt *get = db->statements[GET_GE];
	int r;

	sqlite3_bind_int64(get, 1, with_sign(key));
	r = sqlite3_step(get);
	if (r == SQLITE_ROW) {
		*found = without_sign(sqlite3_column_int64(get, 0));
		*value = (uint64_t)sqlite3_column_int64(get, 1);
	}
	sqlite3_reset(get);
	return r == SQLITE_ROW ? 0 : r;
}

static int scan_next(void *ctx, uint64_t *sum)
{
	struct db *db = ctx;
	sqlite3_stmt *scan = db->statements[SCAN];
	int r;

	while ((r = sqlite3_step(scan)) == SQLITE_ROW)
		*sum += (uint64_t)sqlite3_column_int64(scan, 0);
	sqlite3_reset(scan);
	return r == SQLITE_DONE ? 0 : r;
}

#define ENGINE(NAME, OPEN)                                                                                             \
	{                                                                                                              \
		.name = (NAME), .open = (OPEN), .close = close_db, .load = load, .begin = begin, .put = put,           \
		.put_sorted = put_sorted, .del = del, .del_sorted = del_sorted, .commit = commit,                      \
		.look_begin = look_begin, .look_renew = look_renew, .look_end = look_end, .get = get,                  \
		.get_ge = get_ge, .scan_next = scan_next,                                                              \
	}

const struct engine engine_sqlite = ENGINE("sqlite", open_wal);
const struct engine engine_sqlite_rollback = ENGINE("sqlite_rollback", open_rollback);
