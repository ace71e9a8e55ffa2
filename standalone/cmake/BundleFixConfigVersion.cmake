# The CMake package is in the Python package. This file makes -DBundleFix_DIR=…/cmake short.
include("${CMAKE_CURRENT_LIST_DIR}/../lib/python3.13/site-packages/bundle_fix/cmake/BundleFixConfigVersion.cmake")
