# Folders of the Python environment that runs this build, where its wheels bring C++ libraries:
#   INSTSEG_PYTHON_OPENVINO  CMake package of the openvino wheel
#   INSTSEG_PYTHON_CMEEL     prefix of the cmeel-* wheels (yaml-cpp)
#   INSTSEG_PYTHON_GTEST     GoogleTest sources of the ros-gtest-vendor wheel
# Empty where there is no interpreter or no such wheel. Set Python_EXECUTABLE to use another environment.
find_package(Python 3.11 QUIET COMPONENTS Interpreter OPTIONAL_COMPONENTS Development.Module)

foreach(name OPENVINO CMEEL GTEST)
  set(INSTSEG_PYTHON_${name} "")
endforeach()

if(Python_Interpreter_FOUND)
  execute_process(
    COMMAND ${Python_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/python_packages.py
    OUTPUT_VARIABLE found_packages OUTPUT_STRIP_TRAILING_WHITESPACE
    COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE "\n" ";" found_packages "${found_packages}")
  foreach(entry IN LISTS found_packages)
    if(entry MATCHES "^([A-Z]+)=(.*)$")
      set(INSTSEG_PYTHON_${CMAKE_MATCH_1} "${CMAKE_MATCH_2}")
    endif()
  endforeach()
endif()
