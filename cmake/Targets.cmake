# reusescope_library(NAME SOURCES... [DEPS ...]) and reusescope_test(NAME SOURCES... DEPS ...): one set of flags for all.
add_library(reusescope_flags INTERFACE)
target_compile_options(reusescope_flags INTERFACE -Wall -Wextra -Wpedantic -Werror)
# The designated initializers of the operator tables leave members out on purpose: their defaults are the meaning.
target_compile_options(reusescope_flags INTERFACE -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 takes the inline buffer of abseil's InlinedVector for uninitialized once it optimizes; clang checks the same code.
  target_compile_options(reusescope_flags INTERFACE -Wno-uninitialized -Wno-maybe-uninitialized)
endif()
target_include_directories(reusescope_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
if(REUSESCOPE_SANITIZE)
  target_compile_options(reusescope_flags INTERFACE -fsanitize=${REUSESCOPE_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(reusescope_flags INTERFACE -fsanitize=${REUSESCOPE_SANITIZE})
endif()

function(reusescope_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC ${ARG_DEPS} PRIVATE reusescope_flags)
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
endfunction()

# Every tests/<folder>/*_test.cc becomes one program per folder; ctest sees each case.
function(reusescope_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} reusescope_flags GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE
    REUSESCOPE_SOURCE_DIR="${CMAKE_SOURCE_DIR}" REUSESCOPE_BINARY_DIR="${CMAKE_BINARY_DIR}")
  # Tests are mostly templates that run once: optimizing them, or checking their own arithmetic, costs more than it finds.
  target_compile_options(${name} PRIVATE -O0)
  if(REUSESCOPE_SANITIZE)
    target_compile_options(${name} PRIVATE -fno-sanitize=undefined)
  endif()
  include(GoogleTest)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 300)
endfunction()
