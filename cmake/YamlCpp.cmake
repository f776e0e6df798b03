# yaml-cpp: the system's package, or the wheel cmeel-yaml-cpp of the Python environment. Defines
#   instseg_yaml_cpp  what to link
#   INSTSEG_YAML_CPP_BUNDLED  file to install beside the library; empty where the system provides it
find_package(yaml-cpp QUIET)
if(NOT yaml-cpp_FOUND AND INSTSEG_PYTHON_CMEEL)
  find_package(yaml-cpp QUIET PATHS ${INSTSEG_PYTHON_CMEEL} NO_DEFAULT_PATH)
endif()
if(NOT yaml-cpp_FOUND)
  message(FATAL_ERROR "yaml-cpp not found: install libyaml-cpp-dev, or `pip install cmeel-yaml-cpp` into the Python "
    "environment of this build, or set yaml-cpp_DIR")
endif()

if(TARGET yaml-cpp::yaml-cpp)
  set(yaml_cpp_target yaml-cpp::yaml-cpp)
else()  # before 0.8
  set(yaml_cpp_target yaml-cpp)
endif()
add_library(instseg_yaml_cpp INTERFACE)
target_link_libraries(instseg_yaml_cpp INTERFACE ${yaml_cpp_target})

set(INSTSEG_YAML_CPP_BUNDLED "")
get_target_property(yaml_cpp_type ${yaml_cpp_target} TYPE)
if(yaml_cpp_type STREQUAL "SHARED_LIBRARY")
  foreach(property IMPORTED_LOCATION IMPORTED_LOCATION_RELEASE IMPORTED_LOCATION_NONE)
    get_target_property(location ${yaml_cpp_target} ${property})
    if(location)
      break()
    endif()
  endforeach()
  get_filename_component(folder "${location}" DIRECTORY)
  if(NOT folder IN_LIST CMAKE_CXX_IMPLICIT_LINK_DIRECTORIES)
    set(INSTSEG_YAML_CPP_BUNDLED "${location}")
  endif()
endif()
message(STATUS "instseg: yaml-cpp ${yaml-cpp_VERSION} in ${yaml-cpp_DIR}")
