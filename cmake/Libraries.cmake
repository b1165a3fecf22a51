# SPDX-License-Identifier: BSD-3-Clause
# Libraries that others keep, and what is left out where they are missing. The prefix THINP_ of the imported targets
# keeps them apart from what a project that uses the installed CMake package looks for itself.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# uthash is headers only: nothing of it is needed at run time.
find_path(THINP_UTHASH_INCLUDE_DIR utlist.h)
mark_as_advanced(THINP_UTHASH_INCLUDE_DIR)
if(NOT THINP_UTHASH_INCLUDE_DIR)
  message(FATAL_ERROR "utlist.h of uthash was not found: install uthash-dev (Debian), uthash-devel (Fedora) or uthash")
endif()

# So is the tree of libbsd.
find_path(THINP_BSD_INCLUDE_DIR bsd/sys/tree.h)
mark_as_advanced(THINP_BSD_INCLUDE_DIR)
if(NOT THINP_BSD_INCLUDE_DIR)
  message(FATAL_ERROR "bsd/sys/tree.h of libbsd was not found: install libbsd-dev (Debian, Alpine) or libbsd-devel (Fedora)")
endif()

# Names new stores.
pkg_check_modules(THINP_UUID REQUIRED QUIET IMPORTED_TARGET uuid)

pkg_check_modules(THINP_ISAL QUIET IMPORTED_TARGET libisal)
option(THINP_WITH_ISAL "Compute CRC-32C with ISA-L" ${THINP_ISAL_FOUND})
if(THINP_WITH_ISAL AND NOT THINP_ISAL_FOUND)
  message(FATAL_ERROR "THINP_WITH_ISAL is on, but pkg-config does not find libisal")
endif()

pkg_check_modules(THINP_URING QUIET IMPORTED_TARGET liburing)
option(THINP_WITH_URING "Build the back-end that works by io_uring (needs liburing)" ${THINP_URING_FOUND})
if(THINP_WITH_URING AND NOT THINP_URING_FOUND)
  message(FATAL_ERROR "THINP_WITH_URING is on, but pkg-config does not find liburing")
endif()

pkg_check_modules(THINP_JANSSON QUIET IMPORTED_TARGET jansson)
if(THINP_JANSSON_FOUND AND THINP_BUILD_CHECK)
  set(tools_default ON)
else()
  set(tools_default OFF)
endif()
option(THINP_BUILD_TOOLS "Build the command thinp (needs libthinp-check and jansson)" ${tools_default})
if(THINP_BUILD_TOOLS AND NOT (THINP_JANSSON_FOUND AND THINP_BUILD_CHECK))
  message(FATAL_ERROR "THINP_BUILD_TOOLS is on, but THINP_BUILD_CHECK is off or pkg-config does not find jansson")
endif()

if(THINP_BUILD_BENCH)
  pkg_check_modules(THINP_BENCHMARK REQUIRED QUIET IMPORTED_TARGET benchmark)
  # only to compare with
  pkg_check_modules(THINP_LMDB QUIET IMPORTED_TARGET lmdb)
  pkg_check_modules(THINP_SQLITE QUIET IMPORTED_TARGET sqlite3)
  pkg_check_modules(THINP_ROCKSDB QUIET IMPORTED_TARGET rocksdb)
  pkg_check_modules(THINP_WIREDTIGER QUIET IMPORTED_TARGET wiredtiger)
endif()

if(THINP_BUILD_TESTS)
  pkg_check_modules(THINP_CMOCKA REQUIRED QUIET IMPORTED_TARGET cmocka)
endif()
