/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * support/save_image.h - images that a test leaves for other programs to look at.
 */
#ifndef TP_TEST_SAVE_IMAGE_H
#define TP_TEST_SAVE_IMAGE_H

#include <thinp/io.h>

/* Writes a device into NAME-NUMBER.meta in the folder that THINP_RANDOM_IMAGES names. Without that: nothing. */
void save_image(struct thinp_io *io, const char *name, uint64_t number);

#endif
