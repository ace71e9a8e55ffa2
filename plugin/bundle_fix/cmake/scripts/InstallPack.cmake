# Installs a pack that was made; run by cmake_install.cmake.
#
#   BUNDLE_FIX_PACK         the target that makes it
#   BUNDLE_FIX_STAMP        the file that holds its path
#   BUNDLE_FIX_DESTINATION  where to, below the prefix
if(NOT EXISTS "${BUNDLE_FIX_STAMP}")
  message(FATAL_ERROR "The pack has not been made: build the target ${BUNDLE_FIX_PACK} first.")
endif()
file(STRINGS "${BUNDLE_FIX_STAMP}" BUNDLE_FIX_MADE ENCODING UTF-8)
get_filename_component(BUNDLE_FIX_DESTINATION "${BUNDLE_FIX_DESTINATION}" ABSOLUTE
                       BASE_DIR "${CMAKE_INSTALL_PREFIX}")
if(IS_DIRECTORY "${BUNDLE_FIX_MADE}")
  file(INSTALL DESTINATION "${BUNDLE_FIX_DESTINATION}" TYPE DIRECTORY
       USE_SOURCE_PERMISSIONS FILES "${BUNDLE_FIX_MADE}")
else()
  file(INSTALL DESTINATION "${BUNDLE_FIX_DESTINATION}" TYPE FILE FILES "${BUNDLE_FIX_MADE}")
endif()
