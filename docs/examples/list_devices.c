/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists the thin devices of a pool: list_devices METADATA */
#include <inttypes.h>
#include <stdio.h>

#include <thinp/error.h>
#include <thinp/pool.h>

static int show(void *ctx, const struct thinp_device_info *device)
{
	(void)ctx;
	printf("device %" PRIu64 ": %" PRIu64 " blocks mapped\n", device->dev_id, device->mapped_blocks);
	return 0;
}

static int list_devices(const char *path)
{
	struct thinp_pool *pool = NULL;
	int r = thinp_pool_open_path(path, NULL, &pool); /* NULL: for reading */

	if (r == 0)
		r = thinp_pool_walk_devices(pool, show, NULL);
	thinp_pool_close(pool);
	return r;
}

int main(int argc, char **argv)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	if (argc != 2) {
		fprintf(stderr, "usage: list_devices METADATA\n");
		return 2;
	}
	if (list_devices(argv[1]) != 0) {
		thinp_error_last(&info);
		fprintf(stderr, "%s: %s\n", argv[1], info.message);
		return 1;
	}
	return 0;
}
