# Find the bundle-fix program of the installation that contains this CMake package.
include_guard(GLOBAL)

# Set in the caller:
#   BundleFix_COMMAND            the command to run, a list; empty if not found
#   BundleFix_EXECUTABLE         the program of this command
#   BundleFix_NOT_FOUND_MESSAGE  the reason if not found
# Choose the candidate whose `cmake-dir` prints this directory. Otherwise accept a candidate only if
# it is the only one and has this version: this directory may be a copy.
function(_bundle_fix_find_tool version)
  set(tried "")
  set(others "")
  _bundle_fix_package_directory(own)
  if(BundleFix_EXECUTABLE)
    set(candidates "${BundleFix_EXECUTABLE}")
  else()
    _bundle_fix_find_candidates(candidates)
  endif()
  foreach(candidate IN LISTS candidates)
    if(NOT EXISTS "${candidate}" OR IS_DIRECTORY "${candidate}")
      if(BundleFix_EXECUTABLE)
        string(APPEND tried "\n  ${candidate}: program not found")
      endif()
      continue()
    endif()
    _bundle_fix_query("${candidate}" command directory found)
    if(directory STREQUAL own AND found STREQUAL version)
      _bundle_fix_use("${candidate}" "${command}")
      return()
    endif()
    list(APPEND others "${candidate}")
    if(command)
      string(APPEND tried "\n  ${candidate}: version ${found}, of ${directory}")
    else()
      string(APPEND tried "\n  ${candidate}: does not run: ${found}")
    endif()
  endforeach()
  list(LENGTH others count)
  if(count EQUAL 1 AND found STREQUAL version)
    _bundle_fix_use("${others}" "${command}")
    return()
  endif()
  set(BundleFix_COMMAND "" PARENT_SCOPE)
  set(BundleFix_NOT_FOUND_MESSAGE
      "bundle-fix ${version}, the program of ${own}, was not found."
      "Set BundleFix_EXECUTABLE to its path."
      "Candidates:${tried}")
  string(REPLACE ";" " " BundleFix_NOT_FOUND_MESSAGE "${BundleFix_NOT_FOUND_MESSAGE}")
  set(BundleFix_NOT_FOUND_MESSAGE "${BundleFix_NOT_FOUND_MESSAGE}" PARENT_SCOPE)
endfunction()

# Save PROGRAM and COMMAND for the functions of this package. Each call passes --require, so that
# the build fails if another version is installed at this path later.
macro(_bundle_fix_use program command)
  set_property(GLOBAL PROPERTY BUNDLE_FIX_COMMAND ${command} "--require=${version}")
  set(BundleFix_COMMAND "${command}" PARENT_SCOPE)
  set(BundleFix_EXECUTABLE "${program}" PARENT_SCOPE)
  if(NOT BundleFix_FIND_QUIETLY)
    get_property(printed GLOBAL PROPERTY BUNDLE_FIX_PRINTED)
    if(NOT printed STREQUAL "${program}")
      message(STATUS "Found bundle-fix: ${program} (version ${version})")
      set_property(GLOBAL PROPERTY BUNDLE_FIX_PRINTED "${program}")
    endif()
  endif()
endmacro()

# Return the directory of this CMake package, with symlinks resolved.
function(_bundle_fix_package_directory result)
  get_filename_component(directory "${CMAKE_CURRENT_FUNCTION_LIST_DIR}" REALPATH)
  set(${result} "${directory}" PARENT_SCOPE)
endfunction()

# Return the paths where bundle-fix may be: the script directories of the Python installation that
# has this package, of the active venv and of the project's Python, and PATH.
function(_bundle_fix_find_candidates result)
  _bundle_fix_package_directory(own)
  get_filename_component(site "${own}/../.." REALPATH)
  set(directories
      "${site}/../../../bin"     # a prefix, a venv, a build environment: lib/python3.X/site-packages
      "${site}/bin"              # pip install --target
      "${site}/../.venv/bin"     # this and the following: editable installations
      "$ENV{VIRTUAL_ENV}/bin")
  foreach(variable Python_EXECUTABLE Python3_EXECUTABLE PYTHON_EXECUTABLE)
    if(${variable})
      get_filename_component(directory "${${variable}}" DIRECTORY)
      list(APPEND directories "${directory}")
    endif()
  endforeach()
  string(REPLACE ":" ";" path "$ENV{PATH}")
  list(APPEND directories ${path})
  set(found "")
  foreach(directory IN LISTS directories)
    get_filename_component(program "${directory}/bundle-fix" REALPATH)
    list(APPEND found "${program}")
  endforeach()
  list(REMOVE_DUPLICATES found)
  set(${result} "${found}" PARENT_SCOPE)
endfunction()

# Return the command that runs PROGRAM, and the package directory and version that it prints. If it
# does not run, COMMAND is empty and VERSION is the last line of its error message. The program runs
# without and with PYTHONPATH: Python does not search the site-packages of `pip install --prefix`.
function(_bundle_fix_query program command directory version)
  _bundle_fix_package_directory(own)
  get_filename_component(site "${own}/../.." REALPATH)
  set(path "${site}")
  if(DEFINED ENV{PYTHONPATH})
    string(APPEND path ":$ENV{PYTHONPATH}")
  endif()
  set(plain "${program}")
  set(with_path "${CMAKE_COMMAND}" -E env "PYTHONPATH=${path}" "${program}")
  set(found_directory "an unknown directory")
  set(found_version "unknown")
  set(working "")
  foreach(variant plain with_path)
    execute_process(COMMAND ${${variant}} cmake-dir RESULT_VARIABLE status OUTPUT_VARIABLE output
                    ERROR_VARIABLE error OUTPUT_STRIP_TRAILING_WHITESPACE)
    if(NOT status EQUAL 0 AND NOT working)
      string(STRIP "${error}" error)
      string(REGEX REPLACE ".*\n" "" found_version "${error}")
      if(NOT found_version)
        set(found_version "${status}")
      endif()
    endif()
    if(status EQUAL 0 AND (output STREQUAL own OR NOT working))
      execute_process(COMMAND ${${variant}} --version OUTPUT_VARIABLE found_version
                      ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
      string(REPLACE "bundle-fix " "" found_version "${found_version}")
      set(found_directory "${output}")
      set(working "${${variant}}")
      if(output STREQUAL own)
        break()
      endif()
    endif()
  endforeach()
  set(${command} "${working}" PARENT_SCOPE)
  set(${directory} "${found_directory}" PARENT_SCOPE)
  set(${version} "${found_version}" PARENT_SCOPE)
endfunction()
