/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/crc32c.h - CRC-32C (Castagnoli, reflected polynomial 0x82F63B78).
 */
#ifndef TP_BASE_CRC32C_H
#define TP_BASE_CRC32C_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Runs the register over data; no inversion before or after. Start with 0xFFFFFFFF and invert the result for the usual
 * CRC-32C (RFC 3720, appendix B.4); the on-disk format leaves that last inversion out. */
uint32_t tp_crc32c(uint32_t reg, const void *data, size_t nbytes);

/* The ways to compute it, for tests; tp_crc32c picks the best one that the build and the machine have. */
uint32_t tp_crc32c_table(uint32_t reg, const void *data, size_t nbytes);
bool tp_crc32c_has_hw(void);
uint32_t tp_crc32c_hw(uint32_t reg, const void *data, size_t nbytes); /* only where tp_crc32c_has_hw() */
bool tp_crc32c_has_isal(void);
uint32_t tp_crc32c_isal(uint32_t reg, const void *data, size_t nbytes); /* only where tp_crc32c_has_isal() */

#endif
