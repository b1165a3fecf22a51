/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * peers/engine_wiredtiger.c - WiredTiger: one B-tree of two numbers.
 *
 * Its log is on, and transaction_sync=(enabled,method=fsync) flushes it once for each commit. A checkpoint whenever the log
 * has grown by 64 MiB, as without them the log would grow for ever. No compression, and the packed format of keys, which
 * is the one of key_format=Q. Pages of 4 KiB to look up single keys, as its tuning guide advises; its default is 32 KiB. Loading is done with a bulk
 * cursor and a checkpoint. The same cache as everybody, with all of it in memory.
 */
#include "engine.h"

#include <wiredtiger.h>

#include <stdio.h>
#include <stdlib.h>

#define TABLE "table:map"

struct db {
	WT_CONNECTION *connection;
	WT_SESSION *session;
	WT_CURSOR *cursor;
};

/* A session of its own, in a transaction that reads. */
struct look {
	WT_SESSION *session;
	WT_CURSOR *cursor;
};

static void close_db(void *ctx)
{
	struct db *db = ctx;

	if (db->connection)
		db->connection->close(db->connection, NULL);
	free(db);
}

static int open_cursor(WT_SESSION *session, WT_CURSOR **cursor)
{
	return session->open_cursor(session, TABLE, NULL, "overwrite=true", cursor);
}

static int connect(struct db *db, const char *folder, const struct engine_size *size)
{
	char config[512];
	int r;

	snprintf(config, sizeof(config),
		 "create,cache_size=%llu,log=(enabled=true),transaction_sync=(enabled=true,method=fsync),"
		 "checkpoint=(log_size=64MB),session_max=64",
		 (unsigned long long)size->cache_bytes);
	r = wiredtiger_open(folder, NULL, config, &db->connection);
	if (!r)
		r = db->connection->open_session(db->connection, NULL, NULL, &db->session);
	if (!r)
		r = db->session->create(db->session, TABLE,
					"key_format=Q,value_format=Q,leaf_page_max=4KB,internal_page_max=4KB");
	return r;
}

static int open_db(const char *folder, const struct engine_size *size, void **out)
{
	struct db *db = calloc(1, sizeof(*db));
	int r = db ? connect(db, folder, size) : -1;

	if (!r)
		*out = db;
	else if (db)
		close_db(db);
	return r;
}

/* A bulk cursor wants the table for itself, so the one for changes is opened when it is needed. */
static int begin(void *ctx)
{
	struct db *db = ctx;
	int r = db->cursor ? 0 : open_cursor(db->session, &db->cursor);

	return r ? r : db->session->begin_transaction(db->session, NULL);
}

static int commit(void *ctx)
{
	struct db *db = ctx;

	return db->session->commit_transaction(db->session, NULL);
}

static int put_by(WT_CURSOR *cursor, uint64_t key, uint64_t value)
{
	cursor->set_key(cursor, key);
	cursor->set_value(cursor, value);
	return cursor->insert(cursor);
}

static int load(void *ctx, const uint64_t *keys, const uint64_t *values, size_t nr)
{
	struct db *db = ctx;
	WT_CURSOR *bulk;
	int r = db->session->open_cursor(db->session, TABLE, NULL, "bulk", &bulk);

	if (r)
		return r;
	for (size_t i = 0; i < nr && !r; i++)
		r = put_by(bulk, keys[i], values[i]);
	bulk->close(bulk);
	return r ? r : db->session->checkpoint(db->session, NULL);
}

static int put(void *ctx, uint64_t key, uint64_t value)
{
	struct db *db = ctx;

	return put_by(db->cursor, key, value);
}

static int put_sorted(void *ctx, const uint64_t *keys, const uint64_t *values, size_t nr)
{
	int r = 0;

	for (size_t i = 0; i < nr && !r; i++)
		r = put(ctx, keys[i], values[i]);
	return r;
}

static int del(void *ctx, uint64_t key)
{
	struct db *db = ctx;

	db->cursor->set_key(db->cursor, key);
	return db->cursor->remove(db->cursor);
}

static int del_sorted(void *ctx, const uint64_t *keys, size_t nr)
{
	int r = 0;

	for (size_t i = 0; i < nr && !r; i++)
		r = del(ctx, keys[i]);
	return r;
}

static void look_end(void *ctx)
{
	struct look *look = ctx;

	if (look->session)
		look->session->close(look->session, NULL);
	free(look);
}

static int open_look(struct db *db, struct look *look)
{
	int r = db->connection->open_session(db->connection, NULL, "isolation=snapshot", &look->session);

	if (!r)
		r = open_cursor(look->session, &look->cursor);
	return r ? r : look->session->begin_transaction(look->session, NULL);
}

static int look_begin(void *ctx, void **out)
{
	struct look *look = calloc(1, sizeof(*look));
	int r = look ? open_look(ctx, look) : -1;

	if (!r)
		*out = look;
	else if (look)
		look_end(look);
	return r;
}

static int look_renew(void *ctx)
{
	struct look *look = ctx;
	int r = look->session->rollback_transaction(look->session, NULL);

	return r ? r : look->session->begin_transaction(look->session, NULL);
}

static int get(void *ctx, uint64_t key, uint64_t *value)
{
	struct look *look = ctx;
	int r;

	look->cursor->set_key(look->cursor, key);
	r = look->cursor->search(look->cursor);
	return r ? r : look->cursor->get_value(look->cursor, value);
}

static int get_ge(void *ctx, uint64_t key, uint64_t *found, uint64_t *value)
{
	struct look *look = ctx;
	int side, r;

	look->cursor->set_key(look->cursor, key);
	r = look->cursor->search_near(look->cursor, &side);
	if (!r && side < 0)
		r = look->cursor->next(look->cursor);
	if (!r)
		r = look->cursor->get_key(look->cursor, found);
	return r ? r : look->cursor->get_value(look->cursor, value);
}

static int scan_next(void *ctx, uint64_t *sum)
{
	struct look *look = ctx;
	uint64_t value;
	int r = look->cursor->reset(look->cursor);

	while (!r && !(r = look->cursor->next(look->cursor)) && !(r = look->cursor->get_value(look->cursor, &value)))
		*sum += value;
	return r == WT_NOTFOUND ? 0 : r;
}

const struct engine engine_wiredtiger = {
	.name = "wiredtiger",
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
	.get_ge = get_ge,
	.scan_next = scan_next,
};
