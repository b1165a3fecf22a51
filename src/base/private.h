/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/private.h - what libthinp gives to libthinp-check, and to nobody else.
 *
 * The two libraries are made and installed together. Symbols marked so are exported under a node of src/libthinp.map that
 * bears the full version, LIBTHINP_PRIVATE_0.1.0 for example, so that the libraries of two releases refuse to run
 * together. They are few, and in one place each, because state such as the thread's error record must exist once in a
 * process.
 */
#ifndef TP_BASE_PRIVATE_H
#define TP_BASE_PRIVATE_H

#if defined(__GNUC__)
#define TP_PRIVATE_API __attribute__((visibility("default")))
#else
#define TP_PRIVATE_API
#endif

#endif
