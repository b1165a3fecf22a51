/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/loop_device.c - loop devices by their ioctls.
 */
#include "support/loop_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Others look for a free device at the same time; so often do we look. */
enum { MAX_TRIES = 100 };

static const char *give_up(const char *what)
{
	static char text[128];

	snprintf(text, sizeof(text), "%s: %s", what, strerror(errno));
	return text;
}

/* 0; or -1 with errno EBUSY when somebody was faster. */
static int configure(struct loop_device *loop, int number, const struct loop_config *config)
{
	snprintf(loop->path, sizeof(loop->path), "/dev/loop%d", number);
	loop->fd = open(loop->path, O_RDWR | O_CLOEXEC);
	if (loop->fd < 0)
		return -1;
	if (!ioctl(loop->fd, LOOP_CONFIGURE, config))
		return 0;
	close(loop->fd);
	return -1;
}

static const char *configure_free(struct loop_device *loop, int control, const struct loop_config *config)
{
	for (int tries = 0; tries < MAX_TRIES; tries++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);

		if (number < 0)
			return give_up("no free loop device");
		if (!configure(loop, number, config))
			return NULL;
		if (errno != EBUSY)
			break;
	}
	return give_up(loop->path);
}

const char *loop_device_make(struct loop_device *loop, int file, uint32_t sector_bytes, bool is_direct)
{
	struct loop_config config = {
		.fd = (uint32_t)file,
		.block_size = sector_bytes,
		.info = {.lo_flags = LO_FLAGS_AUTOCLEAR | (is_direct ? LO_FLAGS_DIRECT_IO : 0)},
	};
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	const char *complaint;

	if (control < 0)
		return give_up("/dev/loop-control");
	complaint = configure_free(loop, control, &config);
	close(control);
	return complaint;
}

int loop_device_refresh(const struct loop_device *loop)
{
	return ioctl(loop->fd, LOOP_SET_CAPACITY, 0);
}

void loop_device_remove(struct loop_device *loop)
{
	close(loop->fd);
	loop->fd = -1;
}
