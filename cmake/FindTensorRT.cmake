# TensorRT, or TensorRT-RTX, whose headers have the same names.
#
#   instseg_find_tensorrt(ROOT)   ROOT: folder with include/ and lib/; empty: where the system has it
#
# sets in the caller's scope, INSTSEG_TENSORRT_… of:
#   NAME         tensorrt | tensorrt_rtx; empty where there are no usable headers
#   REASON       why not
#   INCLUDE_DIR
#   VERSION      of the headers, "10.13.3"
#   LIBRARY      empty where only headers are there
#   SONAME_STEM, SONAME_MAJOR   libnvinfer.so.10: nvinfer and 10

set(INSTSEG_TENSORRT_MINIMUM 10.1)  # the first with 64-bit sizes of the memory that the caller provides

function(instseg_find_tensorrt root)
  set(where "")
  if(root)
    set(where PATHS ${root} NO_DEFAULT_PATH)
  endif()
  find_path(include_dir NvInferRuntime.h ${where} PATH_SUFFIXES include NO_CACHE)
  set(name "")
  set(reason "no NvInferRuntime.h in ${root}")
  if(NOT root)
    set(reason "set TENSORRT_ROOT to a folder with include/NvInferRuntime.h")
  endif()
  if(include_dir)
    instseg_tensorrt_version(${include_dir}/NvInferVersion.h)
    if(major STREQUAL "")
      set(reason "${include_dir}/NvInferVersion.h tells no version")
    elseif(NOT rtx AND version VERSION_LESS INSTSEG_TENSORRT_MINIMUM)
      set(reason "${include_dir} is of TensorRT ${version}, ${INSTSEG_TENSORRT_MINIMUM} or later is needed")
    elseif(rtx)
      set(name tensorrt_rtx)
      set(stem tensorrt_rtx)
    else()
      set(name tensorrt)
      set(stem nvinfer)
    endif()
  endif()
  if(name)
    find_library(library NAMES ${stem} lib${stem}.so.${major} ${where}
      PATH_SUFFIXES lib lib64 lib/x86_64-linux-gnu lib/aarch64-linux-gnu NO_CACHE)
    if(NOT library)
      set(library "")
    endif()
  endif()
  foreach(pair IN ITEMS NAME/name REASON/reason INCLUDE_DIR/include_dir VERSION/version LIBRARY/library
      SONAME_STEM/stem SONAME_MAJOR/major)
    string(REPLACE "/" ";" pair ${pair})
    list(GET pair 0 result)
    list(GET pair 1 variable)
    set(INSTSEG_TENSORRT_${result} "${${variable}}" PARENT_SCOPE)
  endforeach()
endfunction()

# Sets major, version and rtx in the caller's scope; major is empty where the file does not tell.
function(instseg_tensorrt_version header)
  set(major "")
  set(numbers "")
  set(rtx FALSE)
  if(EXISTS ${header})
    file(STRINGS ${header} lines REGEX "^#define (NV_TENSORRT|TRT)_(MAJOR|MINOR|PATCH)(_ENTERPRISE|_RTX)? +[0-9]+")
    foreach(part IN ITEMS MAJOR MINOR PATCH)
      foreach(line IN LISTS lines)
        if(line MATCHES "_${part}(_ENTERPRISE|_RTX)? +([0-9]+)")
          list(APPEND numbers ${CMAKE_MATCH_2})
          if(CMAKE_MATCH_1 STREQUAL "_RTX")
            set(rtx TRUE)
          endif()
          break()
        endif()
      endforeach()
    endforeach()
  endif()
  list(LENGTH numbers count)
  if(count EQUAL 3)
    list(GET numbers 0 major)
    list(JOIN numbers "." version)
  endif()
  foreach(variable IN ITEMS major version rtx)
    set(${variable} "${${variable}}" PARENT_SCOPE)
  endforeach()
endfunction()
