# The CMake package BundleFix: packs, installs and wheels that run the libraries they ship.
#
#   find_package(BundleFix CONFIG REQUIRED)
#   bundle_fix_pack(pack bundle.toml)      # cmake --build build --target pack
#   bundle_fix_install()                   # cmake --install, cpack and wheels mended and verified
#
# It is found through scikit-build-core's entry point in a wheel build, and in any other by
# -DBundleFix_ROOT="$(bundle-fix cmake-dir)". Manual: docs/cmake.md.
if(CMAKE_VERSION VERSION_LESS 3.20)
  set(BundleFix_FOUND FALSE)
  set(BundleFix_NOT_FOUND_MESSAGE "BundleFix needs CMake 3.20 or newer; this is ${CMAKE_VERSION}.")
  return()
endif()
# Functions keep the policies they were defined under; CMP0116 makes depfiles of custom commands
# mean the same under every generator.
cmake_policy(VERSION 3.20...4.0)

include("${CMAKE_CURRENT_LIST_DIR}/BundleFixTool.cmake")
_bundle_fix_find_tool("${BundleFix_VERSION}")
if(NOT BundleFix_COMMAND)
  set(BundleFix_FOUND FALSE)
  return()
endif()
include("${CMAKE_CURRENT_LIST_DIR}/BundleFixTargets.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/BundleFixPack.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/BundleFixRunpath.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/BundleFixInstall.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/BundleFixCPack.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/BundleFixTest.cmake")
