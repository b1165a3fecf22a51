/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fuzz/fuzz.h - what the fuzz targets share.
 *
 * A target takes any bytes. Either the decoder refuses them, or decoding, encoding and decoding again gives the same.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include "base/bytes.h"
#include "base/error.h"
#include "format/kind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold for any input; the fuzzer keeps an input that ends here. */
#define FUZZ_HOLDS(condition)                                                                                          \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                 \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

struct fuzz_block {
	uint8_t data[THINP_BLOCK_SIZE];
};

/* The input as a block: cut, or filled up with zeros. */
static inline struct fuzz_block fuzz_block(const uint8_t *data, size_t size)
{
	struct fuzz_block block = {{0}};

	if (size)
		memcpy(block.data, data, size < sizeof(block.data) ? size : sizeof(block.data));
	return block;
}

static inline bool fuzz_is_text(const struct thinp_error_info *info)
{
	size_t len = strnlen(info->message, sizeof(info->message));

	return len > 0 && len < sizeof(info->message);
}

/* Passes the result of a check on; a refusal must name the block and say why. */
static inline int fuzz_checked(int r, thinp_block_t block)
{
	struct thinp_error_info info = {.size = sizeof(info)};

	if (!r)
		return 0;
	thinp_error_last(&info);
	FUZZ_HOLDS(r == THINP_ECORRUPT);
	FUZZ_HOLDS(info.code == r && info.block == block && fuzz_is_text(&info));
	return r;
}

/* A sealed block gets as far as the rules of its kind, at its own address and nowhere else, and as no other kind. */
static inline void fuzz_verify_sealed(struct fuzz_block block, thinp_block_t address,
				      const struct thinp_block_type *type)
{
	const struct thinp_block_type *others[] = {
		thinp_block_type_thin_superblock(), thinp_block_type_node(),  thinp_block_type_index(),
		thinp_block_type_bitmap(),          thinp_block_type_array(),
	};

	tp_block_seal(block.data, address, type);
	FUZZ_HOLDS(strcmp(tp_block_kind_name(block.data), type->name) == 0);
	FUZZ_HOLDS(!fuzz_checked(tp_block_verify(block.data, address, type), address) ==
		   !(type->check && type->check(block.data, address)));
	FUZZ_HOLDS(fuzz_checked(tp_block_verify(block.data, address + 1, type), address + 1));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		FUZZ_HOLDS(others[i] == type || fuzz_checked(tp_block_verify(block.data, address, others[i]), address));
}

/* The block as it came, most often with a wrong checksum, and sealed. */
static inline void fuzz_verify(const struct fuzz_block *block, const struct thinp_block_type *type)
{
	thinp_block_t address = tp_load_le64(block->data + type->address_offset);

	if (!fuzz_checked(tp_block_verify(block->data, address, type), address))
		FUZZ_HOLDS(strcmp(tp_block_kind_name(block->data), type->name) == 0);
	fuzz_verify_sealed(*block, address, type);
}

#endif
