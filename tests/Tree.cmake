# SPDX-License-Identifier: BSD-3-Clause
# Lint, documentation, install.
find_package(Python3 COMPONENTS Interpreter)
find_program(THINP_DOXYGEN doxygen)

# --- lint: the checks, and the test that each of them finds what it is there for ---
if(Python3_FOUND)
  set(lint_checks rooms headers spdx words lengths layouts format links api options readme)
  if(TARGET libthinp-check)
    list(APPEND lint_checks symbols)
  endif()
  foreach(check IN LISTS lint_checks)
    thinp_add_test(lint/${check}
      ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/lint/lint --build ${PROJECT_BINARY_DIR} ${check})
    set_tests_properties(lint/${check} PROPERTIES ENVIRONMENT "NM=${CMAKE_NM};THINP_HIDE_STATIC=${THINP_HIDE_STATIC}")
  endforeach()
  thinp_add_test(lint/finds_what_is_planted ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/lint/test_lint.py)
  thinp_add_test(bench/selftest ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/bench/selftest)
  if(TARGET libthinp-check)
    thinp_add_test(bench/icount ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/bench/icount
      --program $<TARGET_FILE:bench_icount>)
  endif()
  thinp_add_test(refcheck/selftest ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/refcheck/selftest.py ${fixtures})
else()
  message(WARNING "python3 was not found: the lint tests are left out")
endif()

# --- the reference of the interface; what is not documented is an error ---
if(THINP_DOXYGEN)
  set(doc_dir ${PROJECT_BINARY_DIR}/doc)
  file(MAKE_DIRECTORY ${doc_dir})
  set(doc_command ${CMAKE_COMMAND} -E env THINP_VERSION=${PROJECT_VERSION} THINP_DOC_DIR=${doc_dir}
    ${THINP_DOXYGEN} docs/Doxyfile)
  add_custom_target(doc COMMAND ${doc_command} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} VERBATIM)
  thinp_add_test(docs/reference ${doc_command})
  set_tests_properties(docs/reference PROPERTIES WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
else()
  message(WARNING "doxygen was not found: the reference is not checked")
endif()

# --- the model of the op queue, through all of its states ---
thinp_add_test(model/op_queue ${CMAKE_CURRENT_SOURCE_DIR}/model/run)

# --- manual pages ---
if(TARGET thinp)
  thinp_add_test(docs/man_pages ${CMAKE_CURRENT_SOURCE_DIR}/man_pages $<TARGET_FILE:thinp> ${PROJECT_SOURCE_DIR}/docs/man)
endif()

# --- install, and use what was installed as a stranger would ---
if(TARGET thinp)
  foreach(way IN ITEMS pkg-config find_package)
    thinp_add_test(install/${way} ${CMAKE_CURRENT_SOURCE_DIR}/install/run ${way} ${PROJECT_BINARY_DIR}
      ${CMAKE_CURRENT_BINARY_DIR}/install/${way} ${CMAKE_C_COMPILER} ${CMAKE_COMMAND} ${PROJECT_VERSION}
      ${fixtures}/kernel-empty.meta)
    set_tests_properties(install/${way} PROPERTIES ENVIRONMENT "CMAKE_GENERATOR=${CMAKE_GENERATOR}")
  endforeach()
endif()
