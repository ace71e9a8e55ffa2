# Install a pack. cmake_install.cmake includes this.
#
#   BUNDLE_FIX_PACK         the target that makes the pack
#   BUNDLE_FIX_STAMP        the file that contains the path of the pack
#   BUNDLE_FIX_DESTINATION  the install directory, relative to the prefix
if(NOT EXISTS "${BUNDLE_FIX_STAMP}")
  message(FATAL_ERROR
          "BundleFix: the pack was not built; build the target ${BUNDLE_FIX_PACK} first.")
endif()
file(STRINGS "${BUNDLE_FIX_STAMP}" BUNDLE_FIX_PACK_PATH ENCODING UTF-8)
get_filename_component(BUNDLE_FIX_DESTINATION "${BUNDLE_FIX_DESTINATION}" ABSOLUTE
                       BASE_DIR "${CMAKE_INSTALL_PREFIX}")
if(IS_DIRECTORY "${BUNDLE_FIX_PACK_PATH}")
  file(INSTALL DESTINATION "${BUNDLE_FIX_DESTINATION}" TYPE DIRECTORY
       USE_SOURCE_PERMISSIONS FILES "${BUNDLE_FIX_PACK_PATH}")
else()
  file(INSTALL DESTINATION "${BUNDLE_FIX_DESTINATION}" TYPE FILE FILES "${BUNDLE_FIX_PACK_PATH}")
endif()
