/* SPDX-License-Identifier: BSD-3-Clause */
/* Makes a thin pool, if there is none, and a device and a snapshot in it: make_pool METADATA */
#include <inttypes.h>
#include <stdio.h>

#include <thinp/error.h>
#include <thinp/pool.h>

/* README begin */
static int change(struct thinp_pool *pool)
{
	uint64_t first, nr_mapped;
	int r = thinp_pool_begin(pool);

	if (r == 0)
		r = thinp_pool_create_device(pool, 1);
	if (r == 0)
		r = thinp_pool_alloc_data(pool, 100, &first, NULL);
	if (r == 0)
		r = thinp_pool_insert_run(pool, 1, 0, first, 100, &nr_mapped);
	if (r == 0)
		r = thinp_pool_create_snapshot(pool, 2, 1);
	return r ? r : thinp_pool_commit(pool); /* all of it, or nothing */
}

static int make_pool(const char *path)
{
	struct thinp_pool_opts opts = {.size = sizeof(opts), .nr_metadata_blocks = 512, .nr_data_blocks = 16384};
	struct thinp_pool *pool = NULL;
	int r;

	opts.flags = THINP_POOL_WRITABLE | THINP_POOL_CREATE;
	r = thinp_pool_open_path(path, &opts, &pool);
	if (r == 0)
		r = change(pool);
	thinp_pool_close(pool); /* a transaction that is open is aborted, and the file is closed */
	return r;
}
/* README end */

int main(int argc, char **argv)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	if (argc != 2) {
		fprintf(stderr, "usage: make_pool METADATA\n");
		return 2;
	}
	if (make_pool(argv[1]) != 0) {
		thinp_error_last(&info);
		fprintf(stderr, "%s\n", info.message);
		return 1;
	}
	printf("made a device and a snapshot of it\n");
	return 0;
}
