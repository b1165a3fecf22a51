/* SPDX-License-Identifier: BSD-3-Clause */
/** @file
 *  @brief The scalar types and constants that every other header uses.
 *
 *  A *block* is a metadata block of 4096 bytes. Block b is the bytes 4096 b to 4096 b + 4095 of the metadata device.
 *  A *sector* is 512 bytes.
 */
#ifndef THINP_TYPES_H
#define THINP_TYPES_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Marks what the library exports; everything else is hidden. */
#if defined(__GNUC__)
#define THINP_API __attribute__((visibility("default")))
#else
#define THINP_API
#endif

/** Bytes of a metadata block. The format knows no other size. */
#define THINP_BLOCK_SIZE 4096

/** The value that stands for "no block", for example in ::thinp_error_info when a failure concerns no block. */
#define THINP_NO_BLOCK UINT64_MAX

/** Address of a metadata block: its number, counted from 0. */
typedef uint64_t thinp_block_t;

#endif
