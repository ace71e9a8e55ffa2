# Answer find_package(BundleFix VERSION). The version is read from the Python package that contains
# this file. A release is compatible with older releases of the same major version.
file(STRINGS "${CMAKE_CURRENT_LIST_DIR}/../__init__.py" _bundle_fix_line
     REGEX "^__version__ = \"[^\"]+\"")
string(REGEX REPLACE "^__version__ = \"([^\"]+)\".*" "\\1" PACKAGE_VERSION "${_bundle_fix_line}")
unset(_bundle_fix_line)

set(_bundle_fix_requested "${PACKAGE_FIND_VERSION}")
if(PACKAGE_FIND_VERSION_RANGE)
  set(_bundle_fix_requested "${PACKAGE_FIND_VERSION_MIN}")
endif()
string(REGEX MATCH "^[0-9]+" _bundle_fix_major "${_bundle_fix_requested}")
string(REGEX MATCH "^[0-9]+" _bundle_fix_own_major "${PACKAGE_VERSION}")

set(PACKAGE_VERSION_COMPATIBLE FALSE)
if(PACKAGE_FIND_VERSION_RANGE)
  if(PACKAGE_VERSION VERSION_GREATER_EQUAL PACKAGE_FIND_VERSION_MIN
     AND (PACKAGE_VERSION VERSION_LESS PACKAGE_FIND_VERSION_MAX
          OR (PACKAGE_FIND_VERSION_RANGE_MAX STREQUAL "INCLUDE"
              AND PACKAGE_VERSION VERSION_EQUAL PACKAGE_FIND_VERSION_MAX)))
    set(PACKAGE_VERSION_COMPATIBLE TRUE)
  endif()
elseif(_bundle_fix_major STREQUAL _bundle_fix_own_major
       AND PACKAGE_VERSION VERSION_GREATER_EQUAL _bundle_fix_requested)
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()
if(PACKAGE_VERSION VERSION_EQUAL _bundle_fix_requested)
  set(PACKAGE_VERSION_EXACT TRUE)
endif()
unset(_bundle_fix_requested)
unset(_bundle_fix_major)
unset(_bundle_fix_own_major)
