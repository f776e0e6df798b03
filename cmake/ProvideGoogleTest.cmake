# GoogleTest: the system's package, or the sources of the wheel ros-gtest-vendor, or a download. Defines instseg_gtest.
find_package(GTest QUIET)
add_library(instseg_gtest INTERFACE)
if(GTest_FOUND)
  target_link_libraries(instseg_gtest INTERFACE GTest::gtest_main)
elseif(INSTSEG_PYTHON_GTEST)
  message(STATUS "instseg: GoogleTest from ${INSTSEG_PYTHON_GTEST}")
  add_library(instseg_gtest_sources STATIC
    ${INSTSEG_PYTHON_GTEST}/src/gtest-all.cc ${INSTSEG_PYTHON_GTEST}/src/gtest_main.cc)
  target_include_directories(instseg_gtest_sources SYSTEM PUBLIC ${INSTSEG_PYTHON_GTEST}/include)
  target_include_directories(instseg_gtest_sources PRIVATE ${INSTSEG_PYTHON_GTEST})
  target_compile_features(instseg_gtest_sources PUBLIC cxx_std_17)
  target_link_libraries(instseg_gtest_sources PUBLIC Threads::Threads)
  target_link_libraries(instseg_gtest INTERFACE instseg_gtest_sources)
else()
  message(STATUS "instseg: GoogleTest not found, it is downloaded: install libgtest-dev, or `pip install "
    "ros-gtest-vendor`, to build without a network")
  include(FetchContent)
  FetchContent_Declare(googletest
    URL https://github.com/google/googletest/releases/download/v1.17.0/googletest-1.17.0.tar.gz
    URL_HASH SHA256=65fab701d9829d38cb77c14acdc431d2108bfdbf8979e40eb8ae567edf10b27c)
  set(INSTALL_GTEST OFF)
  FetchContent_MakeAvailable(googletest)
  target_link_libraries(instseg_gtest INTERFACE GTest::gtest_main)
endif()
