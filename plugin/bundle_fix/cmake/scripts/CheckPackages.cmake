# Check the packages that CPack has written, and remove them if they do not pass. CPack runs this
# after it has made packages (CPACK_POST_BUILD_SCRIPTS). Packages of components are unpacked and
# checked together, because they are installed into the same prefix.
cmake_policy(PUSH)
cmake_policy(VERSION 3.20...4.0)
include("${CMAKE_CURRENT_LIST_DIR}/CheckDirectory.cmake")

# Unpack PACKAGE into DIRECTORY. RESULT is false if this machine has no program that can unpack it.
function(_bundle_fix_unpack package directory result)
  set(status 1)
  set(archives "\\.(tar\\.[A-Za-z0-9]+|tar|tgz|txz|tzst|zip|7z)$")
  file(MAKE_DIRECTORY "${directory}")
  if(package MATCHES "\\.deb$")
    find_program(BUNDLE_FIX_DPKG dpkg-deb)
    if(BUNDLE_FIX_DPKG)
      execute_process(COMMAND "${BUNDLE_FIX_DPKG}" -x "${package}" "${directory}"
                      RESULT_VARIABLE status)
    endif()
  elseif(package MATCHES "\\.rpm$")
    find_program(BUNDLE_FIX_RPM2CPIO rpm2cpio)
    find_program(BUNDLE_FIX_CPIO cpio)
    if(BUNDLE_FIX_RPM2CPIO AND BUNDLE_FIX_CPIO)
      execute_process(COMMAND "${BUNDLE_FIX_RPM2CPIO}" "${package}"
                      COMMAND "${BUNDLE_FIX_CPIO}" -idm --quiet
                      WORKING_DIRECTORY "${directory}" RESULT_VARIABLE status)
      # rpmbuild adds a symlink to every ELF file there; they are outside of the prefix.
      file(REMOVE_RECURSE "${directory}/usr/lib/.build-id")
    endif()
  elseif(package MATCHES "\\.sh$")
    execute_process(COMMAND sh "${package}" --skip-license --exclude-subdir "--prefix=${directory}"
                    RESULT_VARIABLE status OUTPUT_QUIET ERROR_QUIET)
  elseif(package MATCHES "${archives}")
    # Drop the top directory of each archive, which has the archive's name, so that the components
    # end up in the same tree.
    file(ARCHIVE_EXTRACT INPUT "${package}" DESTINATION "${directory}.part")
    get_filename_component(top "${package}" NAME)
    string(REGEX REPLACE "${archives}" "" top "${top}")
    if(IS_DIRECTORY "${directory}.part/${top}")
      file(COPY "${directory}.part/${top}/" DESTINATION "${directory}")
    else()
      file(GLOB entries LIST_DIRECTORIES true "${directory}.part/*")
      file(COPY ${entries} DESTINATION "${directory}")
    endif()
    file(REMOVE_RECURSE "${directory}.part")
    set(status 0)
  endif()
  if(status EQUAL 0)
    set(${result} TRUE PARENT_SCOPE)
  else()
    set(${result} FALSE PARENT_SCOPE)
  endif()
endfunction()

# Remove a package from CPack's work directory, and a package of the same name from an earlier run.
function(_bundle_fix_remove_package package)
  get_filename_component(name "${package}" NAME)
  string(TOLOWER "${CPACK_PACKAGE_CHECKSUM}" checksum)
  foreach(path "${package}" "${CPACK_PACKAGE_DIRECTORY}/${name}"
               "${CPACK_OUTPUT_FILE_PREFIX}/${name}")
    file(REMOVE "${path}")
    if(checksum)
      file(REMOVE "${path}.${checksum}")
    endif()
  endforeach()
endfunction()

# Unpack all packages into one directory and check it. STATUS is empty if a package cannot be
# unpacked.
function(_bundle_fix_check_unpacked status report)
  set(directory "${CPACK_TOPLEVEL_DIRECTORY}/BundleFix")
  file(REMOVE_RECURSE "${directory}")
  set(check_status "")
  set(check_report "")
  set(all TRUE)
  foreach(package IN LISTS CPACK_PACKAGE_FILES)
    _bundle_fix_unpack("${package}" "${directory}" unpacked)
    if(NOT unpacked)
      message(STATUS "BundleFix: cannot unpack ${package} on this machine; "
                     "only its staging directory was checked")
      set(all FALSE)
    endif()
  endforeach()
  if(all)
    _bundle_fix_check("${directory}" check_status check_report)
  endif()
  file(REMOVE_RECURSE "${directory}")
  set(${status} "${check_status}" PARENT_SCOPE)
  set(${report} "${check_report}" PARENT_SCOPE)
endfunction()

function(_bundle_fix_check_packages)
  list(LENGTH CPACK_PACKAGE_FILES count)
  if(count EQUAL 0)
    return()
  endif()
  set(status 2)
  # `check` assumes that other packages provide missing libraries of a .deb or .rpm. The packages of
  # a project must have all of its libraries, so they are unpacked and checked as a directory.
  _bundle_fix_find_package_prefix(prefix)
  if(count EQUAL 1 AND NOT prefix AND NOT CPACK_PACKAGE_FILES MATCHES "\\.(deb|rpm)$")
    _bundle_fix_check("${CPACK_PACKAGE_FILES}" status report)
  endif()
  if(status EQUAL 2)
    _bundle_fix_check_unpacked(status report)
  endif()
  if(status AND NOT status EQUAL 0)
    message("${report}")
    foreach(package IN LISTS CPACK_PACKAGE_FILES)
      _bundle_fix_remove_package("${package}")
    endforeach()
    message(FATAL_ERROR "BundleFix: the packages do not pass the check (see above); removed.")
  endif()
endfunction()

_bundle_fix_check_packages()
cmake_policy(POP)
