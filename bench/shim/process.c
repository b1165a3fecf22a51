/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * shim/process.c - what /proc and the clocks say.
 */
#include "process.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MOST_FILES_OPEN = 16 };

/* The number behind a name in a file of /proc. */
static uint64_t number_in(const char *path, const char *name)
{
	unsigned long long number = 0;
	FILE *file = fopen(path, "r");
	char line[256];

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name)) && sscanf(line + strlen(name), ": %llu", &number) == 1)
			break;
	fclose(file);
	return number;
}

uint64_t process_written_bytes(void)
{
	return number_in("/proc/self/io", "wchar");
}

void process_reset_peak(void)
{
	int fd = open("/proc/self/clear_refs", O_WRONLY);

	if (fd < 0)
		return;
	if (write(fd, "5", 1) != 1)
		fputs("the peak of the memory is that of the whole process\n", stderr);
	close(fd);
}

uint64_t process_peak_bytes(void)
{
	return number_in("/proc/self/status", "VmHWM") * 1024;
}

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double process_thread_seconds(void)
{
	return seconds(CLOCK_THREAD_CPUTIME_ID);
}

double process_wall_seconds(void)
{
	return seconds(CLOCK_MONOTONIC);
}

/* --- folders: nftw() has no pointer for its callback, and benchmarks are one thread when they call it --- */

static uint64_t sum_bytes;

static int add_size(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)path;
	(void)at;
	if (kind == FTW_F)
		sum_bytes += (uint64_t)st->st_blocks * 512;
	return 0;
}

static int drop_cache(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	int fd = kind == FTW_F ? open(path, O_RDONLY) : -1;

	(void)st;
	(void)at;
	if (fd < 0)
		return 0;
	if (fsync(fd) || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
		fprintf(stderr, "%s stays in the page cache\n", path);
	close(fd);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

uint64_t folder_bytes(const char *folder)
{
	sum_bytes = 0;
	nftw(folder, add_size, MOST_FILES_OPEN, FTW_PHYS);
	return sum_bytes;
}

void folder_drop_cache(const char *folder)
{
	nftw(folder, drop_cache, MOST_FILES_OPEN, FTW_PHYS);
}

void folder_remove(const char *folder)
{
	nftw(folder, remove_one, MOST_FILES_OPEN, FTW_PHYS | FTW_DEPTH);
}

int folder_make(const char *folder)
{
	folder_remove(folder);
	return mkdir(folder, 0700);
}
