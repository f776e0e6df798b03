# Where libraries lie, in the build tree and when installed. The C++ package has them below the prefix; the wheel has
# everything below the Python package, and finds OpenVINO in the package next to it.
if(SKBUILD)
  set(INSTSEG_INSTALL_LIBDIR instseg_rt/lib)
  set(INSTSEG_INSTALL_BINDIR instseg_rt/bin)
else()
  set(INSTSEG_INSTALL_LIBDIR ${CMAKE_INSTALL_LIBDIR})
  set(INSTSEG_INSTALL_BINDIR ${CMAKE_INSTALL_BINDIR})
endif()
set(INSTSEG_INSTALL_PLUGINDIR ${INSTSEG_INSTALL_LIBDIR}/instseg/plugins)

# The library looks for plug-ins in instseg/plugins below its own folder: the build tree has the same shape.
set(INSTSEG_BUILD_LIBDIR ${PROJECT_BINARY_DIR}/lib)
set(INSTSEG_BUILD_PLUGINDIR ${INSTSEG_BUILD_LIBDIR}/instseg/plugins)
