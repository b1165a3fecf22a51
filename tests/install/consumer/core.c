/* SPDX-License-Identifier: BSD-3-Clause */
/* A device in memory, and the word that no pool is on it: prints the version when all is as expected. */
#include <stdio.h>
#include <string.h>

#include <thinp/error.h>
#include <thinp/io.h>
#include <thinp/pool.h>
#include <thinp/version.h>

int main(void)
{
	struct thinp_io_opts opts = {.size = sizeof(opts), .nr_blocks = 16};
	struct thinp_error_info info = {.size = sizeof(info)};
	struct thinp_pool *pool = NULL;
	struct thinp_io *io = NULL;
	int r = thinp_io_open_memory(&opts, &io);

	if (r == 0)
		r = thinp_pool_open(io, NULL, &pool);
	thinp_io_close(io);
	thinp_error_last(&info);
	if (r != THINP_EUNFORMATTED || info.code != r || strcmp(thinp_err_name(r), "THINP_EUNFORMATTED") != 0)
		return 1;
	puts(thinp_version());
	return 0;
}
