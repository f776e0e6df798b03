# The library, and for C++ users a CMake package that can be moved.
include(CMakePackageConfigHelpers)

if(SKBUILD)
  install(TARGETS instseg LIBRARY DESTINATION ${INSTSEG_INSTALL_LIBDIR})
else()
  install(TARGETS instseg EXPORT instsegTargets
    LIBRARY DESTINATION ${INSTSEG_INSTALL_LIBDIR}
    FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  set(package_dir ${INSTSEG_INSTALL_LIBDIR}/cmake/instseg)
  install(EXPORT instsegTargets NAMESPACE instseg:: DESTINATION ${package_dir})
  configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/instsegConfig.cmake.in
    ${PROJECT_BINARY_DIR}/instsegConfig.cmake INSTALL_DESTINATION ${package_dir})
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/instsegConfigVersion.cmake COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/instsegConfig.cmake ${PROJECT_BINARY_DIR}/instsegConfigVersion.cmake
    DESTINATION ${package_dir})
endif()

if(INSTSEG_YAML_CPP_BUNDLED)
  # Under its soname: that is what the library asks the loader for.
  file(REAL_PATH ${INSTSEG_YAML_CPP_BUNDLED} yaml_cpp_file)
  get_filename_component(yaml_cpp_name ${yaml_cpp_file} NAME)
  string(REGEX REPLACE "(\\.so\\.[0-9]+\\.[0-9]+).*" "\\1" yaml_cpp_soname ${yaml_cpp_name})
  install(FILES ${yaml_cpp_file} DESTINATION ${INSTSEG_INSTALL_LIBDIR} RENAME ${yaml_cpp_soname}
    PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
endif()
