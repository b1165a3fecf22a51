# SPDX-License-Identifier: BSD-3-Clause
# What `cmake --install` puts where: headers, libraries, the command, manual pages, pkg-config files, a CMake package.
# Everything finds its neighbours by relative paths, so that the tree may be installed under any prefix, or be moved.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/libthinp)
set(shared_libraries libthinp)
set(header_rooms base format io op_queue alloc block transaction btree space_map array thin)
if(TARGET libthinp-check)
  list(APPEND shared_libraries libthinp-check)
  list(APPEND header_rooms check)
endif()
list(TRANSFORM shared_libraries APPEND -static OUTPUT_VARIABLE static_libraries)

# --- headers, libraries, command, manual pages
foreach(room IN LISTS header_rooms)
  thinp_room_field(${room} 2 headers)
  list(TRANSFORM headers PREPEND ${PROJECT_SOURCE_DIR}/include/thinp/)
  install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/thinp)
endforeach()
install(TARGETS ${shared_libraries} EXPORT libthinp-targets)
install(TARGETS ${static_libraries} EXPORT libthinp-static-targets)
if(TARGET libthinp-check)
  set_target_properties(libthinp-check PROPERTIES INSTALL_RPATH "$ORIGIN") # libthinp lies beside it
endif()
if(TARGET thinp)
  file(RELATIVE_PATH bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  set_target_properties(thinp PROPERTIES INSTALL_RPATH "$ORIGIN/${bin_to_lib}")
  install(TARGETS thinp)
  file(GLOB pages CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/docs/man/*.1)
  install(FILES ${pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
endif()

# --- find_package(libthinp)
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(compatibility SameMinorVersion) # before 1.0 a new minor version may change the interface
else()
  set(compatibility SameMajorVersion)
endif()
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/libthinp-config.cmake.in
  ${PROJECT_BINARY_DIR}/package/libthinp-config.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/libthinp-config-version.cmake
  COMPATIBILITY ${compatibility})
install(FILES ${PROJECT_BINARY_DIR}/package/libthinp-config.cmake
  ${PROJECT_BINARY_DIR}/package/libthinp-config-version.cmake DESTINATION ${package_dir})
install(EXPORT libthinp-targets NAMESPACE libthinp:: DESTINATION ${package_dir})
install(EXPORT libthinp-static-targets NAMESPACE libthinp:: DESTINATION ${package_dir})

# --- pkg-config
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
  set(pc_prefix ${CMAKE_INSTALL_PREFIX})
else()
  file(RELATIVE_PATH pc_to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
  string(REGEX REPLACE "/$" "" pc_to_prefix "${pc_to_prefix}")
  set(pc_prefix "\${pcfiledir}/${pc_to_prefix}")
endif()
foreach(dir IN ITEMS LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${dir}}")
    set(pc_${dir} ${CMAKE_INSTALL_${dir}})
  else()
    set(pc_${dir} "\${prefix}/${CMAKE_INSTALL_${dir}}")
  endif()
endforeach()
if(THINP_WITH_ISAL)
  list(APPEND pc_private libisal)
endif()
if(THINP_WITH_URING)
  list(APPEND pc_private liburing)
endif()
list(JOIN pc_private ", " pc_private)
foreach(library IN LISTS shared_libraries)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${library}.pc.in ${PROJECT_BINARY_DIR}/package/${library}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/package/${library}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()
