# Wheels and editable installations, which scikit-build-core builds.
include_guard(GLOBAL)

# Return the directory of bundled libraries in a wheel, relative to the install prefix: GIVEN, or a
# directory of the project's own. With wheel.install-dir the prefix is in the Python package;
# otherwise it is site-packages, or the root directory of the environment, which all projects share.
function(_bundle_fix_choose_wheel_libdir result given)
  string(REGEX REPLACE "[-_.]+" "_" project "${SKBUILD_PROJECT_NAME}")
  set(libdir lib)
  if(CMAKE_INSTALL_LIBDIR)
    set(libdir "${CMAKE_INSTALL_LIBDIR}")
  endif()
  foreach(part PLATLIB PURELIB DATA SCRIPTS)
    if(SKBUILD_${part}_DIR AND "${CMAKE_INSTALL_PREFIX}/" STREQUAL "${SKBUILD_${part}_DIR}/")
      set(libdir "${project}.libs")
      if(part STREQUAL "DATA")
        set(libdir "lib/${project}")
      endif()
    endif()
  endforeach()
  if(given)
    set(libdir "${given}")
  endif()
  foreach(part PLATLIB PURELIB DATA)
    if(SKBUILD_${part}_DIR)
      get_filename_component(path "${libdir}" ABSOLUTE BASE_DIR "${CMAKE_INSTALL_PREFIX}")
      file(RELATIVE_PATH path "${SKBUILD_${part}_DIR}" "${path}")
      if(path MATCHES "^(|bin|include|share|lib(32|64|x32)?(/[^/]+-linux-[^/]+)?)$")
        message(FATAL_ERROR
          "bundle_fix_install(): LIBDIR ${given}: pip installs the wheels of all projects into this "
          "directory, so they would overwrite each other's libraries. Omit LIBDIR, or give a "
          "directory of the project, such as ${project}.libs")
      endif()
    endif()
  endforeach()
  set(${result} "${libdir}" PARENT_SCOPE)
endfunction()

# Link all targets so that they find their libraries in an editable installation, whose files are
# not fixed: those of the project in LIBDIR or lib, and those that its wheel would bundle at their places on
# this machine.
function(_bundle_fix_prepare_editable libdir)
  get_property(library_directory GLOBAL PROPERTY BUNDLE_FIX_LIBRARY_DIRECTORY)
  _bundle_fix_find_closure_directories(searched)
  _bundle_fix_find_targets(targets "${CMAKE_SOURCE_DIR}" EXECUTABLE SHARED_LIBRARY MODULE_LIBRARY)
  foreach(target IN LISTS targets)
    get_target_property(rpath ${target} INSTALL_RPATH)
    if(NOT rpath MATCHES "\\$ORIGIN")
      bundle_fix_runpath(${target} LIBRARY "${libdir}")
      _bundle_fix_add_libdir_runpaths(${target} "${libdir}")
      _bundle_fix_add_libdir_runpaths(${target} "${library_directory}")
    endif()
    set_property(TARGET ${target} APPEND PROPERTY INSTALL_RPATH ${searched})
    set_property(TARGET ${target} APPEND PROPERTY BUILD_RPATH ${searched})
    # CMake adds the directories of the libraries that are linked.
    set_property(TARGET ${target} PROPERTY INSTALL_RPATH_USE_LINK_PATH TRUE)
    # Dependencies of the libraries are searched for by RPATH, but not by RUNPATH (ld.so(8)).
    target_link_options(${target} PRIVATE "LINKER:--disable-new-dtags")
  endforeach()
  message(STATUS "BundleFix: an editable installation is not fixed")
endfunction()

# Return the directories of `search` in the [closure] of the spec.
function(_bundle_fix_find_closure_directories result)
  set(${result} "" PARENT_SCOPE)
  get_property(spec GLOBAL PROPERTY BUNDLE_FIX_SPEC)
  if(NOT spec)
    return()
  endif()
  get_property(command GLOBAL PROPERTY BUNDLE_FIX_COMMAND)
  get_property(options GLOBAL PROPERTY BUNDLE_FIX_INSTALL_OPTIONS)
  set(defines "build=${CMAKE_BINARY_DIR}" "source=${CMAKE_SOURCE_DIR}"
              "cmake.CMAKE_BUILD_TYPE=${CMAKE_BUILD_TYPE}" ${options})
  list(TRANSFORM defines PREPEND "-D")
  execute_process(COMMAND ${command} cmake-dir --closure "${spec}" ${defines}
                  OUTPUT_VARIABLE lines ERROR_VARIABLE error RESULT_VARIABLE status
                  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_STRIP_TRAILING_WHITESPACE)
  if(NOT status EQUAL 0)
    message(WARNING "bundle_fix_install(): programs of the editable installation may not find the "
                    "libraries of [closure]: ${error}")
    return()
  endif()
  string(REPLACE "\n" ";" directories "${lines}")
  set(${result} "${directories}" PARENT_SCOPE)
endfunction()

# Append to the RUNPATH of TARGET the ways to LIBDIR from its parent directory, where extension
# modules usually are, and from one and two directories below. CMake does not say where a target is
# installed.
function(_bundle_fix_add_libdir_runpaths target libdir)
  if(IS_ABSOLUTE "${libdir}")
    file(RELATIVE_PATH libdir "${CMAKE_INSTALL_PREFIX}" "${libdir}")
  endif()
  foreach(up "" "../" "../../")
    set_property(TARGET ${target} APPEND PROPERTY INSTALL_RPATH "\$ORIGIN/${up}${libdir}")
  endforeach()
endfunction()
