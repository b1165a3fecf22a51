/* SPDX-License-Identifier: BSD-3-Clause */
/* Dumps the pool that its argument names, and sees a dump refused: prints the version when all is as expected. */
#include <stdio.h>
#include <string.h>

#include <thinp/dump.h>
#include <thinp/error.h>
#include <thinp/io.h>
#include <thinp/pool.h>
#include <thinp/version.h>

static int gather(void *ctx, const char *text, size_t nbytes)
{
	char *all = ctx;

	strncat(all, text, nbytes < 4096 - strlen(all) ? nbytes : 4095 - strlen(all));
	return 0;
}

static int dump(struct thinp_io *io)
{
	struct thinp_dump_opts opts = {.size = sizeof(opts), .format = 1000};
	struct thinp_error_info info = {.size = sizeof(info)};
	struct thinp_pool *pool = NULL;
	char text[4096] = "";
	int r = thinp_pool_open(io, NULL, &pool);

	if (r == 0 && thinp_dump(pool, &opts, gather, text) != THINP_ENOTSUP)
		r = 1;
	thinp_error_last(&info); /* both libraries write one record */
	if (r == 0 && info.code != THINP_ENOTSUP)
		r = 1;
	if (r == 0)
		r = thinp_dump(pool, NULL, gather, text);
	thinp_pool_close(pool);
	return r ? r : strncmp(text, "<superblock ", 12);
}

int main(int argc, char **argv)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .flags = THINP_IO_READ_ONLY};
	struct thinp_io *io = NULL;
	int r = argc == 2 ? thinp_io_open_file(argv[1], &opts, &io) : 1;

	if (r == 0)
		r = dump(io);
	thinp_io_close(io);
	if (r == 0)
		puts(thinp_version());
	return r != 0;
}
