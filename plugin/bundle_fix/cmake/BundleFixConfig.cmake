# The CMake package BundleFix: make, install and check packs that use their own libraries.
#
#   find_package(BundleFix CONFIG REQUIRED)
#   bundle_fix_pack(pack bundle.toml)      # cmake --build build --target pack
#   bundle_fix_install()                   # fix and check cmake --install, cpack and wheels
#
# A wheel build finds it through scikit-build-core's entry point; any other build needs
# -DBundleFix_DIR="$(bundle-fix cmake-dir)". Manual: docs/cmake.md.
if(CMAKE_VERSION VERSION_LESS 3.20)
  set(BundleFix_FOUND FALSE)
  set(BundleFix_NOT_FOUND_MESSAGE "BundleFix needs CMake 3.20 or newer; this is ${CMAKE_VERSION}.")
  return()
endif()
# Functions keep the policies that were set when they were defined. CMP0116 gives paths in the
# depfiles of custom commands the same meaning with every generator.
cmake_policy(VERSION 3.20...4.0)

include("${CMAKE_CURRENT_LIST_DIR}/BundleFixTool.cmake")
_bundle_fix_find_tool("${BundleFix_VERSION}")
if(NOT BundleFix_COMMAND)
  set(BundleFix_FOUND FALSE)
  return()
endif()
include("${CMAKE_CURRENT_LIST_DIR}/BundleFixTargets.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/BundleFixSpec.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/BundleFixSearch.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/BundleFixPack.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/BundleFixRunpath.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/BundleFixWheel.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/BundleFixInstall.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/BundleFixCPack.cmake")
include("${CMAKE_CURRENT_LIST_DIR}/BundleFixTest.cmake")
