# _bundle_fix_set_package_relations(): set what DEB and RPM packages depend on and provide. The
# packages of components depend on each other, and none provides the soname of a private library.
# CheckStaging.cmake includes this; CheckDirectory.cmake is included before.
#
#   CPACK_BUNDLE_FIX_LIBDIR  the directory of the private libraries, relative to the prefix
#   CPACK_BUNDLE_FIX_WORK    the build's directory with the required components of each component

# Return the name of the component or group whose package contains COMPONENT.
function(_bundle_fix_find_package_id result component)
  string(TOUPPER "${component}" upper)
  set(id "${component}")
  if(CPACK_COMPONENTS_GROUPING STREQUAL "ALL_COMPONENTS_IN_ONE")
    set(id ALL)
  elseif(NOT CPACK_COMPONENTS_GROUPING STREQUAL "IGNORE" AND CPACK_COMPONENT_${upper}_GROUP)
    set(id "${CPACK_COMPONENT_${upper}_GROUP}")
  endif()
  set(${result} "${id}" PARENT_SCOPE)
endfunction()

# Return the required components of COMPONENT that are in other packages.
function(_bundle_fix_find_required_components result component)
  set(required "")
  if(EXISTS "${CPACK_BUNDLE_FIX_WORK}/components/${component}.requires")
    file(STRINGS "${CPACK_BUNDLE_FIX_WORK}/components/${component}.requires" names ENCODING UTF-8)
    _bundle_fix_find_package_id(own "${component}")
    foreach(name IN LISTS names)
      _bundle_fix_find_package_id(id "${name}")
      if(NOT id STREQUAL own)
        list(APPEND required "${name}")
      endif()
    endforeach()
  endif()
  set(${result} "${required}" PARENT_SCOPE)
endfunction()

# Print the required components that are not packaged.
function(_bundle_fix_report_missing_components)
  foreach(component IN LISTS CPACK_COMPONENTS_ALL)
    _bundle_fix_find_required_components(required "${component}")
    list(REMOVE_ITEM required ${CPACK_COMPONENTS_ALL})
    foreach(name IN LISTS required)
      message("BundleFix: the component ${component} needs the component ${name}, which is not "
              "packaged; add it to CPACK_COMPONENTS_ALL.")
    endforeach()
  endforeach()
endfunction()

# Return the first of the other arguments that is not empty.
function(_bundle_fix_choose result)
  foreach(value IN LISTS ARGN)
    if(value)
      set(${result} "${value}" PARENT_SCOPE)
      return()
    endif()
  endforeach()
  set(${result} "" PARENT_SCOPE)
endfunction()

# Return the relation to the package ID of this build, `name (= version)` for a DEB and
# `name = version` for an RPM, with the names and versions that CPackDeb and CPackRPM give packages.
function(_bundle_fix_format_relation result id)
  string(TOUPPER "${id}" upper)
  string(TOLOWER "${CPACK_PACKAGE_NAME}" base)
  if(CPACK_GENERATOR STREQUAL "DEB")
    _bundle_fix_choose(base "${CPACK_DEBIAN_PACKAGE_NAME}" "${base}")
    _bundle_fix_choose(name "${CPACK_DEBIAN_${upper}_PACKAGE_NAME}" "${base}-${id}")
    string(TOLOWER "${name}" name)
    _bundle_fix_choose(version "${CPACK_DEBIAN_PACKAGE_VERSION}" "${CPACK_PACKAGE_VERSION}")
    if(CPACK_DEBIAN_PACKAGE_RELEASE)
      string(APPEND version "-${CPACK_DEBIAN_PACKAGE_RELEASE}")
    endif()
    if(CPACK_DEBIAN_PACKAGE_EPOCH)
      string(PREPEND version "${CPACK_DEBIAN_PACKAGE_EPOCH}:")
    endif()
    set(${result} "${name} (= ${version})" PARENT_SCOPE)
  else()
    _bundle_fix_choose(base "${CPACK_RPM_PACKAGE_NAME}" "${base}")
    _bundle_fix_choose(name "${CPACK_RPM_${id}_PACKAGE_NAME}" "${CPACK_RPM_${upper}_PACKAGE_NAME}"
                       "${base}-${id}")
    string(TOUPPER "${CPACK_RPM_MAIN_COMPONENT}" main)
    if(main STREQUAL upper)
      set(name "${base}")
    endif()
    _bundle_fix_choose(version "${CPACK_RPM_PACKAGE_VERSION}" "${CPACK_PACKAGE_VERSION}")
    string(REPLACE "-" "_" version "${version}")
    if(CPACK_RPM_PACKAGE_EPOCH)
      string(PREPEND version "${CPACK_RPM_PACKAGE_EPOCH}:")
    endif()
    set(${result} "${name} = ${version}" PARENT_SCOPE)
  endif()
endfunction()

# Add the relations between packages to the variables of the packages. A package's own variable
# replaces the common one.
function(_bundle_fix_add_relations)
  set(common CPACK_RPM_PACKAGE_REQUIRES)
  if(CPACK_GENERATOR STREQUAL "DEB")
    set(common CPACK_DEBIAN_PACKAGE_DEPENDS)
  endif()
  foreach(component IN LISTS CPACK_COMPONENTS_ALL)
    _bundle_fix_find_package_id(own "${component}")
    string(TOUPPER "${own}" upper)
    set(variable "CPACK_DEBIAN_${upper}_PACKAGE_DEPENDS")
    if(CPACK_GENERATOR STREQUAL "RPM")
      set(variable "CPACK_RPM_${upper}_PACKAGE_REQUIRES")
      if(DEFINED CPACK_RPM_${own}_PACKAGE_REQUIRES)
        set(variable "CPACK_RPM_${own}_PACKAGE_REQUIRES")
      endif()
    endif()
    set(relations "${${common}}")
    if(DEFINED ${variable})
      set(relations "${${variable}}")
    endif()
    _bundle_fix_find_required_components(required "${component}")
    foreach(name IN LISTS required)
      _bundle_fix_find_package_id(id "${name}")
      _bundle_fix_format_relation(relation "${id}")
      string(FIND "${relations}" "${relation}" position)
      if(position EQUAL -1)
        string(APPEND relations ", ${relation}")
      endif()
    endforeach()
    string(REGEX REPLACE "^, " "" relations "${relations}")
    if(required)
      set(${variable} "${relations}")
      set(${variable} "${relations}" PARENT_SCOPE)
    endif()
  endforeach()
endfunction()

# Return the paths in the packages of private libraries and their symlinks, and the staging
# directories that contain libraries.
function(_bundle_fix_find_private_files paths directories)
  _bundle_fix_find_package_prefix(prefix)
  get_filename_component(private "${CPACK_BUNDLE_FIX_LIBDIR}" ABSOLUTE BASE_DIR "${prefix}/")
  file(GLOB_RECURSE files RELATIVE "${CPACK_TEMPORARY_DIRECTORY}" "${CPACK_TEMPORARY_DIRECTORY}/*")
  set(found "")
  set(staged "")
  foreach(path IN LISTS files)
    # Below the staging directory is the path in the package, or a component and then that path.
    string(FIND "/${path}" "${private}/" position)
    if(NOT position EQUAL -1)
      string(SUBSTRING "/${path}" ${position} -1 in_package)
      list(APPEND found "${in_package}")
    endif()
    if(path MATCHES "[.]so[^/]*$")
      get_filename_component(directory "${CPACK_TEMPORARY_DIRECTORY}/${path}" DIRECTORY)
      list(APPEND staged "${directory}")
    endif()
  endforeach()
  list(REMOVE_DUPLICATES staged)
  set(${paths} "${found}" PARENT_SCOPE)
  set(${directories} "${staged}" PARENT_SCOPE)
endfunction()

# Return TEXT as a regular expression. It has no backslashes, which macros of rpm would remove.
function(_bundle_fix_quote_regex result text)
  string(REGEX REPLACE "([+.*()?|{}])" "[\\1]" text "${text}")
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

# Return the definitions that exclude FILES from the provides and requires of RPM packages. Without
# them, rpm would add `Provides: libssl.so.3()(64bit)` for a private library, and install the package
# for any other package that needs libssl.so.3 (rpm's __provides_exclude and __requires_exclude).
function(_bundle_fix_format_exclusions result files)
  set(paths "")
  set(names "")
  foreach(path IN LISTS files)
    get_filename_component(name "${path}" NAME)
    _bundle_fix_quote_regex(path "${path}")
    _bundle_fix_quote_regex(name "${name}")
    list(APPEND paths "${path}")
    list(APPEND names "${name}")
  endforeach()
  list(REMOVE_DUPLICATES names)
  list(JOIN paths "|" paths)
  list(JOIN names "|" names)
  set(definitions "")
  set(__provides_exclude_from "^(${paths})$")
  set(__requires_exclude "^(${names})[(]")
  foreach(macro __provides_exclude_from __requires_exclude)
    string(APPEND definitions "\n%global ${macro} %{?${macro}:%{${macro}}|}${${macro}}")
  endforeach()
  set(${result} "${definitions}" PARENT_SCOPE)
endfunction()

# Write a program that prints what readelf prints, without the sonames of FILES, and return its path.
# CPackDeb calls it for each library, and writes the sonames to DEBIAN/shlibs
# (CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS). Other packages would then depend on this one (deb-shlibs(5)).
function(_bundle_fix_write_readelf result files)
  find_program(BUNDLE_FIX_READELF readelf)
  set(script "${CPACK_TOPLEVEL_DIRECTORY}/BundleFixReadelf")
  list(TRANSFORM files REPLACE "(.+)" ".'\\1'")
  list(JOIN files "|" patterns)
  file(WRITE "${script}" "#!/bin/sh
case \"$2\" in
  ${patterns}) '${BUNDLE_FIX_READELF}' \"$@\" | sed '/SONAME/d' ;;
  *) exec '${BUNDLE_FIX_READELF}' \"$@\" ;;
esac
")
  file(CHMOD "${script}" PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
  set(${result} "${script}" PARENT_SCOPE)
endfunction()

# The variables are set for the rest of cpack's run, which reads all scripts in one scope.
macro(_bundle_fix_set_package_relations)
  if(CPACK_GENERATOR MATCHES "^(DEB|RPM)$")
    if(CPACK_DEB_COMPONENT_INSTALL OR CPACK_RPM_COMPONENT_INSTALL)
      _bundle_fix_add_relations()
    endif()
    _bundle_fix_find_private_files(bundle_fix_files bundle_fix_directories)
    # dpkg-shlibdeps looks there for libraries of other components before it looks at the system.
    list(APPEND CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${bundle_fix_directories})
    if(bundle_fix_files AND CPACK_GENERATOR STREQUAL "RPM")
      _bundle_fix_format_exclusions(bundle_fix_definitions "${bundle_fix_files}")
      string(APPEND CPACK_RPM_SPEC_MORE_DEFINE "${bundle_fix_definitions}")
    elseif(bundle_fix_files)
      if(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS)
        message("BundleFix: DEBIAN/shlibs does not list the private libraries in "
                "${CPACK_BUNDLE_FIX_LIBDIR}")
      endif()
      _bundle_fix_write_readelf(CPACK_READELF_EXECUTABLE "${bundle_fix_files}")
    endif()
  endif()
endmacro()
