# Sets SPARSECORE_WITH_CUDA from SPARSECORE_CUDA, enabling the CUDA language where it is wanted.
#
# A compiler is looked for where CMake looks (CUDACXX, PATH), then under CUDA_HOME and the usual
# prefix. Wheels and CI name CMAKE_CUDA_ARCHITECTURES; a source build takes the device it sees.
# EMULATED builds the same sources with the C++ compiler, to run on the processor, for tests.
set(SPARSECORE_WITH_CUDA OFF)
if(SPARSECORE_CUDA STREQUAL "EMULATED")
  set(SPARSECORE_WITH_CUDA ON)
elseif(NOT SPARSECORE_CUDA STREQUAL "OFF")
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    find_program(sparsecore_nvcc nvcc HINTS $ENV{CUDA_HOME}/bin /usr/local/cuda/bin)
    if(sparsecore_nvcc)
      set(CMAKE_CUDA_COMPILER ${sparsecore_nvcc})
    endif()
  endif()
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    # Not `native`, which is 90 where the device is 9.0: wgmma is 90a's.
    set(CMAKE_CUDA_ARCHITECTURES 90a)
    find_program(sparsecore_nvidia_smi nvidia-smi)
    if(sparsecore_nvidia_smi)
      execute_process(
        COMMAND ${sparsecore_nvidia_smi} --query-gpu=compute_cap --format=csv,noheader
        OUTPUT_VARIABLE found ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
      if(found MATCHES "^[0-9.\n]+$")
        string(REPLACE "." "" found "${found}")
        string(REPLACE "\n" ";" found "${found}")
        list(REMOVE_DUPLICATES found)
        list(TRANSFORM found REPLACE "^90$" "90a")
        set(CMAKE_CUDA_ARCHITECTURES ${found})
      endif()
    endif()
  endif()
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    # Device code and the headers it shares keep to C++17: CMake 3.25 knows no CUDA 20 dialect.
    set(CMAKE_CUDA_STANDARD 17)
    find_package(CUDAToolkit REQUIRED)
    set(SPARSECORE_WITH_CUDA ON)
  elseif(SPARSECORE_CUDA STREQUAL "ON")
    message(FATAL_ERROR "SPARSECORE_CUDA=ON, but no CUDA compiler was found: "
                        "set CUDACXX or CUDA_HOME, or put nvcc on PATH")
  endif()
endif()
message(STATUS "sparsecore CUDA side: ${SPARSECORE_WITH_CUDA}")

# sparsecore_cuda_environment(TARGET SOURCE...): what the target's CUDA sources are compiled with.
function(sparsecore_cuda_environment target)
  if(SPARSECORE_CUDA STREQUAL "EMULATED")
    set(emulation ${PROJECT_SOURCE_DIR}/tests/emulated_cuda)
    set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX
      COMPILE_OPTIONS -Wno-unknown-pragmas
      INCLUDE_DIRECTORIES "${emulation};${PROJECT_SOURCE_DIR}/csrc")
    target_sources(${target} PRIVATE ${emulation}/exchange.cpp ${emulation}/schedule.cpp
      ${emulation}/simt.cpp ${emulation}/waits.cpp)
  else()
    set_source_files_properties(${ARGN} PROPERTIES
      INCLUDE_DIRECTORIES "${PROJECT_SOURCE_DIR}/csrc/cuda/ptx;${PROJECT_SOURCE_DIR}/csrc")
    target_link_libraries(${target} PUBLIC CUDA::cudart_static)
  endif()
endfunction()
