# Settings of every target of this project; nothing here reaches targets that use the library.
function(instseg_target_defaults target)
  target_compile_features(${target} PRIVATE cxx_std_20)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF
    CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON
    POSITION_INDEPENDENT_CODE ON)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion $<$<BOOL:${INSTSEG_WARNINGS_AS_ERRORS}>:-Werror>)
  if(INSTSEG_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${INSTSEG_SANITIZE} -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE -fsanitize=${INSTSEG_SANITIZE})
  endif()
endfunction()
