/* SPDX-License-Identifier: BSD-3-Clause */
/* One thread moves money between accounts, and commits; four others add up all accounts meanwhile. Each looks at the last
 * commit there was, through a view of its own: the sum is always the same, and nobody waits for anybody. */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <thinp/btree.h>
#include <thinp/error.h>
#include <thinp/io.h>
#include <thinp/store.h>

enum { ACCOUNTS = 0, NR_ACCOUNTS = 2000, NR_COMMITS = 200, NR_MOVES = 10, NR_READERS = 4, NR_BLOCKS = 4096 };

#define FIRST_BALANCE UINT64_C(1000)

static const struct thinp_btree_type accounts_type = {.size = sizeof(accounts_type), .nr_levels = 1, .value_size = 8};

static void must(int r, const char *what)
{
	if (!r)
		return;
	fprintf(stderr, "%s: %s\n", what, thinp_strerror(r));
	exit(1);
}

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

/* --- the writer --- */

static thinp_block_t write_balance(struct thinp_tm *tm, thinp_block_t root, uint64_t account, uint64_t balance)
{
	uint8_t value_le[8];

	to_disk(balance, value_le);
	must(thinp_btree_insert(tm, &accounts_type, root, &account, value_le, &root, NULL), "insert");
	return root;
}

/* The transaction manager's reader sees what has been changed in the open transaction. */
static uint64_t read_balance(struct thinp_tm *tm, thinp_block_t root, uint64_t account)
{
	uint8_t value_le[8];

	must(thinp_btree_lookup(thinp_tm_reader(tm), &accounts_type, root, &account, value_le), "look-up");
	return from_disk(value_le);
}

static void open_accounts(struct thinp_store *store)
{
	struct thinp_tm *tm = thinp_store_tm(store);
	thinp_block_t root;

	must(thinp_store_begin(store), "begin");
	must(thinp_btree_create(tm, &accounts_type, &root), "create");
	for (uint64_t account = 0; account < NR_ACCOUNTS; account++)
		root = write_balance(tm, root, account, FIRST_BALANCE);
	must(thinp_store_set_root(store, ACCOUNTS, root), "root");
	must(thinp_store_commit(store), "commit");
}

static thinp_block_t move_one(struct thinp_tm *tm, thinp_block_t root, uint64_t from, uint64_t to)
{
	uint64_t balance = read_balance(tm, root, from);
	uint64_t amount = balance / 2;

	root = write_balance(tm, root, from, balance - amount);
	return write_balance(tm, root, to, read_balance(tm, root, to) + amount);
}

static void move_money(struct thinp_store *store, uint64_t commit)
{
	thinp_block_t root;

	must(thinp_store_begin(store), "begin");
	must(thinp_store_get_root(store, ACCOUNTS, &root), "root");
	for (uint64_t i = commit * NR_MOVES; i < (commit + 1) * NR_MOVES; i++)
		root = move_one(thinp_store_tm(store), root, i * 7919 % NR_ACCOUNTS, i * 104729 % NR_ACCOUNTS);
	must(thinp_store_set_root(store, ACCOUNTS, root), "root");
	must(thinp_store_commit(store), "commit");
}

/* --- the readers --- */

struct bank {
	struct thinp_store *store;
	atomic_bool is_done;
};

static int add_span(void *ctx, const struct thinp_btree_span *span)
{
	const uint8_t *values_le = span->values_le;
	uint64_t *sum = ctx;

	for (size_t i = 0; i < span->nr_entries; i++)
		*sum += from_disk(values_le + 8 * i);
	return 0;
}

static uint64_t add_up(struct thinp_store *store)
{
	struct thinp_view *view;
	thinp_block_t root;
	uint64_t sum = 0;

	must(thinp_view_open(store, &view), "view");
	must(thinp_view_get_root(view, ACCOUNTS, &root), "root");
	must(thinp_btree_walk(thinp_view_reader(view), &accounts_type, root, add_span, &sum), "walk");
	thinp_view_close(view);
	return sum;
}

static void *read_on(void *ctx)
{
	struct bank *bank = ctx;
	bool is_last;

	do {
		is_last = atomic_load(&bank->is_done);
		must(add_up(bank->store) == NR_ACCOUNTS * FIRST_BALANCE ? 0 : THINP_ECORRUPT, "sum");
	} while (!is_last);
	return NULL;
}

static void work(struct bank *bank)
{
	pthread_t readers[NR_READERS];

	for (int i = 0; i < NR_READERS; i++)
		must(pthread_create(&readers[i], NULL, read_on, bank) ? THINP_ENOMEM : 0, "thread");
	for (uint64_t commit = 0; commit < NR_COMMITS; commit++)
		move_money(bank->store, commit);
	atomic_store(&bank->is_done, true);
	for (int i = 0; i < NR_READERS; i++)
		must(pthread_join(readers[i], NULL) ? THINP_EINVAL : 0, "thread");
}

int main(void)
{
	const struct thinp_io_opts io_opts = {.size = sizeof(io_opts), .nr_blocks = NR_BLOCKS};
	const struct thinp_store_opts opts = {.size = sizeof(opts), .flags = THINP_STORE_CREATE};
	struct thinp_store_info info = {.size = sizeof(info)};
	struct bank bank = {.is_done = false};
	struct thinp_io *io;

	must(thinp_io_open_memory(&io_opts, &io), "device");
	must(thinp_store_open(io, &opts, &bank.store), "store");
	open_accounts(bank.store);
	work(&bank);
	thinp_store_get_info(bank.store, &info);
	printf("%d accounts, %" PRIu64 " commits, sum %" PRIu64 "\n", NR_ACCOUNTS, info.commit, add_up(bank.store));
	thinp_store_close(bank.store);
	thinp_io_close(io);
	return 0;
}
