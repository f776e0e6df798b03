# Installs the build, moves the result somewhere else, builds the examples against it with find_package and runs them.
# Arguments (-D): build_dir, examples_dir, work_dir, bundle, generator, compiler, c_compiler.
file(REMOVE_RECURSE ${work_dir})
file(MAKE_DIRECTORY ${work_dir})

execute_process(COMMAND ${CMAKE_COMMAND} --install ${build_dir} --prefix ${work_dir}/installed
  OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
file(RENAME ${work_dir}/installed ${work_dir}/moved)

# Nothing but the public headers comes along.
file(GLOB_RECURSE headers RELATIVE ${work_dir}/moved/include ${work_dir}/moved/include/*)
foreach(header IN LISTS headers)
  if(NOT header MATCHES "^instseg/([a-z_]+\\.hpp|c_api\\.h)$")
    message(FATAL_ERROR "${header} is installed, but is no public header")
  endif()
endforeach()

# The plug-in that was installed must be found, not that of the build tree.
unset(ENV{INSTSEG_PLUGIN_PATH})

# compiler_option: the example's only language.
function(build_and_run example compiler_option)
  set(build ${work_dir}/${example})
  execute_process(COMMAND ${CMAKE_COMMAND} -S ${examples_dir}/${example} -B ${build} -G ${generator}
    -D CMAKE_PREFIX_PATH=${work_dir}/moved -D ${compiler_option} -D CMAKE_BUILD_TYPE=Release
    OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${CMAKE_COMMAND} --build ${build} OUTPUT_QUIET COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${build}/minimal ${bundle} OUTPUT_VARIABLE output COMMAND_ERROR_IS_FATAL ANY)
  message("${output}")
  if(NOT output MATCHES "red 0\\.[5-9].* in \\[160, 120, 320, 240\\]")
    message(FATAL_ERROR "${example} did not find the red rectangle: ${output}")
  endif()
endfunction()

build_and_run(minimal CMAKE_CXX_COMPILER=${compiler})
build_and_run(minimal_c CMAKE_C_COMPILER=${c_compiler})
