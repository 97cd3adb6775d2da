# cmake --install: the libraries, their headers, and a package that find_package(tweedie) finds.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(tw_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tweedie)
foreach(layer tensor kernels autograd nn diffusion)
  install(TARGETS tw_${layer} EXPORT tweedie-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${layer}/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tweedie/${layer}
          FILES_MATCHING PATTERN "*.h" PATTERN "isa" EXCLUDE)
endforeach()
install(EXPORT tweedie-targets NAMESPACE tweedie:: DESTINATION ${tw_package_dir})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/tweedie-config.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/tweedie-config.cmake INSTALL_DESTINATION ${tw_package_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/tweedie-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tweedie-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/tweedie-config-version.cmake
        DESTINATION ${tw_package_dir})
