# SPDX-License-Identifier: BSD-3-Clause
# What will be built, and why what is off is off.
function(thinp_say name is_on when_on when_off)
  if(${is_on})
    message(STATUS "  ${name}yes, ${when_on}")
  else()
    message(STATUS "  ${name}no: ${when_off}")
  endif()
endfunction()

# thinp_why_off(FOUND NAME VARIABLE): the reason why an option that defaults to what was found is off.
function(thinp_why_off found name variable)
  if(found)
    set(${variable} "switched off, although ${name} was found" PARENT_SCOPE)
  else()
    set(${variable} "${name} was not found by pkg-config" PARENT_SCOPE)
  endif()
endfunction()

thinp_why_off("${THINP_ISAL_FOUND}" libisal why_isal)
thinp_why_off("${THINP_URING_FOUND}" liburing why_uring)
thinp_why_off("${THINP_JANSSON_FOUND}" jansson why_tools)
if(NOT THINP_BUILD_CHECK)
  set(why_tools "needs libthinp-check")
endif()
if(THINP_SANITIZE OR THINP_COVERAGE OR THINP_FUZZ)
  set(why_hidden "this build is instrumented")
elseif(CMAKE_INTERPROCEDURAL_OPTIMIZATION)
  set(why_hidden "not with interprocedural optimization")
else()
  set(why_hidden "objcopy was not found")
endif()

message(STATUS "libthinp ${PROJECT_VERSION}, ${CMAKE_BUILD_TYPE}, by ${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}")
thinp_say("libthinp             " TRUE "shared and static" "")
thinp_say("libthinp-check       " THINP_BUILD_CHECK "shared and static" "switched off (THINP_BUILD_CHECK)")
thinp_say("the command thinp    " THINP_BUILD_TOOLS "with jansson ${THINP_JANSSON_VERSION}" "${why_tools}")
thinp_say("tests                " THINP_BUILD_TESTS "with ctest in this folder" "switched off (THINP_BUILD_TESTS)")
thinp_say("benchmarks           " THINP_BUILD_BENCH "with Google Benchmark ${THINP_BENCHMARK_VERSION}"
  "switched off (THINP_BUILD_BENCH)")
thinp_say("CRC-32C by ISA-L     " THINP_WITH_ISAL "version ${THINP_ISAL_VERSION}"
  "${why_isal}; the processor's instruction or a table is used")
thinp_say("devices by io_uring  " THINP_WITH_URING "with liburing ${THINP_URING_VERSION}"
  "${why_uring}; files and block devices are used by system calls")
thinp_say("static hides names   " THINP_HIDE_STATIC "internal symbols are local in the archives" "${why_hidden}")
thinp_say("sanitizers           " THINP_SANITIZE "${THINP_SANITIZE}" "THINP_SANITIZE is empty")
thinp_say("coverage             " THINP_COVERAGE "for gcov" "switched off (THINP_COVERAGE)")
thinp_say("fuzz targets         " THINP_FUZZ "for libFuzzer" "switched off (THINP_FUZZ)")
thinp_say("warnings are errors  " THINP_WERROR "by -Werror" "switched off (THINP_WERROR)")
