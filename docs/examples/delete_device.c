/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Deletes a thin device, however large it is and however full the pool: delete_device METADATA ID
 *
 * Each step is a commit of its own. Stopped at any moment, the pool is sound, and the next run goes on.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <thinp/error.h>
#include <thinp/pool_space.h>

enum { LEAVES_EACH = 8 }; /* in a real program some hundred; 0 takes as much as fits */

/* *is_complete: the device is gone. */
static int delete_some(struct thinp_pool *pool, uint64_t dev_id, bool *is_complete)
{
	struct thinp_pool_step step = {.size = sizeof(step)};
	int r = thinp_pool_begin(pool);

	if (r == 0)
		r = thinp_pool_delete_step(pool, dev_id, LEAVES_EACH, &step);
	if (r == 0)
		r = thinp_pool_commit(pool);
	if (r == 0)
		printf("%" PRIu64 " mappings are gone\n", step.nr_removed);
	*is_complete = r == 0 && step.is_complete;
	return r;
}

static int delete_device(const char *path, uint64_t dev_id)
{
	struct thinp_pool_opts opts = {.size = sizeof(opts), .flags = THINP_POOL_WRITABLE};
	struct thinp_pool *pool = NULL;
	bool is_complete = false;
	int r = thinp_pool_open_path(path, &opts, &pool);

	while (r == 0 && !is_complete)
		r = delete_some(pool, dev_id, &is_complete);
	thinp_pool_close(pool);
	return r;
}

int main(int argc, char **argv)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	if (argc != 3) {
		fprintf(stderr, "usage: delete_device METADATA ID\n");
		return 2;
	}
	if (delete_device(argv[1], strtoull(argv[2], NULL, 0)) != 0) {
		thinp_error_last(&info);
		fprintf(stderr, "%s: %s\n", argv[1], info.message);
		return 1;
	}
	return 0;
}
