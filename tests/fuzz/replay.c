/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz/replay.c - main of a fuzz target without a fuzzer: runs the files and folders it is given, built by any compiler.
 */
#include "fuzz.h"

#include <ftw.h>

static unsigned long nr_inputs;

static int fail(const char *path)
{
	perror(path);
	return 1;
}

/* A buffer of exactly the size of the input, so that sanitizers notice what reads past its end. */
static int run_file(const char *path, size_t size)
{
	uint8_t *data = malloc(size ? size : 1);
	FILE *file = fopen(path, "rb");
	bool is_read = data && file && fread(data, 1, size, file) == size;

	if (file)
		fclose(file);
	if (is_read) {
		LLVMFuzzerTestOneInput(data, size);
		nr_inputs++;
	}
	free(data);
	return is_read ? 0 : fail(path);
}

static int visit(const char *path, const struct stat *status, int type, struct FTW *where)
{
	(void)where;
	if (type == FTW_NS || type == FTW_DNR)
		return fail(path);
	return type == FTW_F ? run_file(path, (size_t)status->st_size) : 0;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int r = nftw(argv[i], visit, 16, 0);

		if (r)
			return r < 0 ? fail(argv[i]) : r;
	}
	printf("%lu inputs\n", nr_inputs);
	return nr_inputs == 0;
}
