# Whether libinstseg_cuda.so is built. Sets INSTSEG_HAS_CUDA, and then has CUDA as a language.
#   INSTSEG_CUDA  AUTO: where nvcc is found; ON: stop where it is not; OFF
# Code for all architectures in CMAKE_CUDA_ARCHITECTURES; unless that is set, for those that the library is meant for,
# with PTX of the last one for what comes after it.
set(INSTSEG_CUDA AUTO CACHE STRING "Build the CUDA ops: AUTO, ON or OFF")
set_property(CACHE INSTSEG_CUDA PROPERTY STRINGS AUTO ON OFF)

set(INSTSEG_HAS_CUDA OFF)
if(INSTSEG_CUDA STREQUAL "AUTO" OR INSTSEG_CUDA)
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 89-real 90)
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    set(INSTSEG_HAS_CUDA ON)
    message(STATUS "instseg: CUDA ops with ${CMAKE_CUDA_COMPILER} ${CMAKE_CUDA_COMPILER_VERSION} for "
      "${CMAKE_CUDA_ARCHITECTURES}")
  elseif(INSTSEG_CUDA STREQUAL "AUTO")
    message(STATUS "instseg: no nvcc found, the CUDA ops are not built (set CUDACXX or CMAKE_CUDA_COMPILER to build them)")
  else()
    message(FATAL_ERROR "instseg: INSTSEG_CUDA is ON, but no nvcc was found: set CUDACXX or CMAKE_CUDA_COMPILER")
  endif()
else()
  message(STATUS "instseg: the CUDA ops are not built (INSTSEG_CUDA is OFF)")
endif()
