# What the build and a spec know of each other: targets, directories and environment variables.
include_guard(GLOBAL)

# Return the targets that SPEC names as {target.NAME}, as far as they are visible in this directory.
# `bundle-fix pack` reports the others, if the entry that names them applies. CMake reads SPEC again
# when it changes.
function(_bundle_fix_find_named_targets spec result)
  set_property(DIRECTORY "${CMAKE_SOURCE_DIR}" APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${spec}")
  file(READ "${spec}" text)
  string(REGEX MATCHALL "{target\\.[A-Za-z0-9_.+-]+" references "${text}")
  set(found "")
  foreach(reference IN LISTS references)
    string(REGEX REPLACE "^{target\\." "" name "${reference}")
    string(REPLACE "__" "::" qualified "${name}")
    foreach(target IN ITEMS ${name} ${qualified})
      if(TARGET ${target})
        list(APPEND found ${target})
        break()
      endif()
    endforeach()
  endforeach()
  list(REMOVE_DUPLICATES found)
  set(${result} "${found}" PARENT_SCOPE)
endfunction()

# Return a definition of {target.NAME} for each target that has a file.
function(_bundle_fix_format_targets result)
  set(lines "")
  foreach(target IN LISTS ARGN)
    get_target_property(kind ${target} TYPE)
    if(TARGET ${target} AND kind MATCHES "EXECUTABLE|SHARED|MODULE|STATIC|UNKNOWN")
      string(REGEX REPLACE "[^A-Za-z0-9_.+-]" "_" variable "${target}")
      string(APPEND lines "target.${variable}=$<TARGET_FILE:${target}>\n")
    endif()
  endforeach()
  set(${result} "${lines}" PARENT_SCOPE)
endfunction()

# Return the definitions of all variables of the build, and the OPTIONS, for `-D @FILE`. The other
# arguments are the targets.
function(_bundle_fix_format_defines result options)
  set(lines "build=${CMAKE_BINARY_DIR}\nsource=${CMAKE_SOURCE_DIR}\n")
  string(APPEND lines "cmake.CMAKE_BUILD_TYPE=$<CONFIG>\n")
  _bundle_fix_format_targets(files ${ARGN})
  string(JOIN "\n" options ${options})
  set(${result} "${lines}${files}${options}\n" PARENT_SCOPE)
endfunction()

# Run a step before each build of the target NAME. It changes the file OUTPUT if an environment
# variable that SPEC uses has changed.
function(_bundle_fix_add_environment_step name spec output)
  _bundle_fix_package_directory(package)
  file(READ "${spec}" text)
  string(REGEX MATCHALL "[^A-Za-z0-9_-]env[\"']?[ \t]*=[ \t]*[\"'][A-Za-z0-9_]+" uses "${text}")
  # The time of the members of a pack, whatever the spec says.
  set(variables SOURCE_DATE_EPOCH)
  foreach(use IN LISTS uses)
    string(REGEX REPLACE ".*[\"']" "" variable "${use}")
    list(APPEND variables ${variable})
  endforeach()
  list(REMOVE_DUPLICATES variables)
  add_custom_target(${name}.environment
    COMMAND "${CMAKE_COMMAND}" "-DVARIABLES=${variables}" "-DOUTPUT=${output}"
            -P "${package}/scripts/RecordEnvironment.cmake"
    BYPRODUCTS "${output}"
    COMMENT "Checking the environment of ${name}"
    VERBATIM)
  add_dependencies(${name} ${name}.environment)
endfunction()
