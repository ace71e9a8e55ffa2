# bundle_fix_pack(): packs as targets of the build.
include_guard(GLOBAL)

# bundle_fix_pack(NAME SPEC
#                 [TARGETS target...]         what it packs; by default all that a build makes
#                 [OPTIONS name=value...]     variables and options of the spec
#                 [OUTPUT file-or-folder]     by default the binary directory
#                 [ROOT folder]               what the spec's paths are relative to; its own folder
#                 [COMPONENT component]       installs the pack, in an install component of its own
#                 [DESTINATION folder]        where that puts it
#                 [ALL])                      makes it a part of a plain build
#
# Adds the target NAME, which makes the pack that SPEC describes, and again when an input, the spec
# or the tool has changed. The spec may use {build}, {source}, {target.TARGET} and {cmake.ENTRY}.
function(bundle_fix_pack)
  cmake_parse_arguments(PARSE_ARGV 0 arg "ALL"
    "NAME;SPEC;OUTPUT;ROOT;COMPONENT;DESTINATION" "TARGETS;OPTIONS")
  foreach(word NAME SPEC)
    if(NOT arg_${word} AND arg_UNPARSED_ARGUMENTS)
      list(POP_FRONT arg_UNPARSED_ARGUMENTS arg_${word})
    endif()
  endforeach()
  _bundle_fix_check_arguments(bundle_fix_pack
    "${arg_UNPARSED_ARGUMENTS}" "${arg_KEYWORDS_MISSING_VALUES}")
  if(NOT arg_NAME OR NOT arg_SPEC)
    message(FATAL_ERROR "bundle_fix_pack() needs the name of a target and a spec")
  endif()
  get_filename_component(spec "${arg_SPEC}" ABSOLUTE)
  if(NOT EXISTS "${spec}")
    message(FATAL_ERROR "bundle_fix_pack(${arg_NAME}): there is no spec ${spec}")
  endif()

  set(work "${CMAKE_CURRENT_BINARY_DIR}/BundleFix/${arg_NAME}")
  _bundle_fix_config(config unused)
  set(stamp "${work}/${config}.stamp")
  set(defines "${work}/${config}.defines")
  set(depfile "${work}/${config}.d")
  if(CMAKE_VERSION VERSION_LESS 3.21)
    set(depfile "${work}/any.d")
  endif()
  _bundle_fix_output("${arg_OUTPUT}" output folder)
  set(root "")
  if(arg_ROOT)
    get_filename_component(root "${arg_ROOT}" ABSOLUTE)
    set(root -C "${root}")
  endif()

  get_property(command GLOBAL PROPERTY BUNDLE_FIX_COMMAND)
  _bundle_fix_folder(package)
  add_custom_command(
    OUTPUT "${stamp}"
    COMMAND "${CMAKE_COMMAND}" -E make_directory "${folder}"
    COMMAND ${command} pack "${spec}" ${root} -D "@${defines}" -o "${output}"
            --depfile "${depfile}" --stamp "${stamp}"
    DEPENDS "${spec}" "${defines}" "${package}/../__init__.py"
    DEPFILE "${depfile}"
    COMMENT "Packing ${arg_NAME}"
    COMMAND_EXPAND_LISTS VERBATIM)
  set(all "")
  if(arg_ALL)
    set(all ALL)
  endif()
  # Custom targets and external projects that come later may be about the pack.
  _bundle_fix_targets(steps "${CMAKE_SOURCE_DIR}" UTILITY)
  add_custom_target(${arg_NAME} ${all} DEPENDS "${stamp}")
  set_target_properties(${arg_NAME} PROPERTIES
    BUNDLE_FIX_SPEC "${spec}"
    BUNDLE_FIX_STAMP "${stamp}"
    BUNDLE_FIX_DEFINES "${defines}"
    BUNDLE_FIX_OPTIONS "${arg_OPTIONS}"
    BUNDLE_FIX_STEPS "${steps}"
    BUNDLE_FIX_TARGETS "${arg_TARGETS}")
  set_property(GLOBAL APPEND PROPERTY BUNDLE_FIX_PACKS ${arg_NAME})
  if(arg_TARGETS)
    # Imported targets are seen from here alone.
    _bundle_fix_at_the_end(_bundle_fix_finish_pack "${arg_NAME}" "${CMAKE_CURRENT_SOURCE_DIR}")
  else()
    _bundle_fix_at_the_end(_bundle_fix_finish_pack "${arg_NAME}")
  endif()
  if(arg_COMPONENT)
    _bundle_fix_install_pack("${arg_NAME}" "${arg_COMPONENT}" "${arg_DESTINATION}")
  endif()
endfunction()

# Where a pack goes: what follows -o, and the folder that must be there.
function(_bundle_fix_output asked output folder)
  get_property(multi GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
  if(NOT asked)
    set(place "${CMAKE_CURRENT_BINARY_DIR}")
    if(multi)
      string(APPEND place "/$<CONFIG>")
    endif()
  else()
    get_filename_component(place "${asked}" ABSOLUTE BASE_DIR "${CMAKE_CURRENT_BINARY_DIR}")
  endif()
  set(${output} "${place}" PARENT_SCOPE)
  if(asked MATCHES "\\.(tar|tgz|txz|tzst|zip)$|\\.tar\\.(gz|xz|zst|bz2)$")
    get_filename_component(place "${place}" DIRECTORY)
  endif()
  set(${folder} "${place}" PARENT_SCOPE)
endfunction()

# What waits for all targets to be known: what the pack depends on, and what the spec may ask for.
function(_bundle_fix_finish_pack name)
  get_target_property(targets ${name} BUNDLE_FIX_TARGETS)
  get_target_property(options ${name} BUNDLE_FIX_OPTIONS)
  get_target_property(defines ${name} BUNDLE_FIX_DEFINES)
  set(asked "${targets}")
  if(NOT targets)
    _bundle_fix_targets(targets "${CMAKE_SOURCE_DIR}"
      EXECUTABLE SHARED_LIBRARY MODULE_LIBRARY STATIC_LIBRARY)
    get_target_property(steps ${name} BUNDLE_FIX_STEPS)
    list(APPEND targets ${steps})
  endif()
  set(lines "build=${CMAKE_BINARY_DIR}\nsource=${CMAKE_SOURCE_DIR}\n")
  string(APPEND lines "cmake.CMAKE_BUILD_TYPE=$<CONFIG>\n")
  foreach(target IN LISTS targets)
    if(NOT TARGET ${target})
      if(NOT CMAKE_CURRENT_SOURCE_DIR STREQUAL CMAKE_SOURCE_DIR)
        _bundle_fix_at_the_end(_bundle_fix_finish_pack "${name}")
        return()
      endif()
      message(FATAL_ERROR "bundle_fix_pack(${name}): there is no target ${target}")
    endif()
    set(real ${target})
    get_target_property(aliased ${target} ALIASED_TARGET)
    if(aliased)
      set(real ${aliased})
    endif()
    get_target_property(imported ${real} IMPORTED)
    if(NOT imported)
      _bundle_fix_in_all(${real} built)
      _bundle_fix_awaits_pack(${real} awaits)
      if(asked OR (built AND NOT awaits))
        add_dependencies(${name} ${real})
      endif()
    endif()
    get_target_property(kind ${target} TYPE)
    if(kind MATCHES "EXECUTABLE|SHARED|MODULE|STATIC|UNKNOWN")
      string(REGEX REPLACE "[^A-Za-z0-9_.+-]" "_" variable "${target}")
      string(APPEND lines "target.${variable}=$<TARGET_FILE:${target}>\n")
    endif()
  endforeach()
  foreach(option IN LISTS options)
    string(APPEND lines "${option}\n")
  endforeach()
  file(GENERATE OUTPUT "${defines}" CONTENT "${lines}")
endfunction()

# Whether TARGET is a pack, or waits for one (such as a custom target that uploads it).
function(_bundle_fix_awaits_pack target result)
  get_target_property(spec ${target} BUNDLE_FIX_SPEC)
  get_target_property(waiting ${target} MANUALLY_ADDED_DEPENDENCIES)
  set(found FALSE)
  if(spec)
    set(found TRUE)
  elseif(waiting)
    foreach(other IN LISTS waiting)
      if(TARGET ${other})
        _bundle_fix_awaits_pack(${other} found)
      endif()
      if(found)
        break()
      endif()
    endforeach()
  endif()
  set(${result} ${found} PARENT_SCOPE)
endfunction()

# The pack's name is known only when it is made: its stamp tells it.
function(_bundle_fix_install_pack name component destination)
  _bundle_fix_folder(package)
  get_target_property(stamp ${name} BUNDLE_FIX_STAMP)
  _bundle_fix_config(at_build at_install)
  string(REPLACE "/${at_build}.stamp" "/${at_install}.stamp" stamp "${stamp}")
  install(CODE "
set(BUNDLE_FIX_PACK [==[${name}]==])
set(BUNDLE_FIX_STAMP \"${stamp}\")
set(BUNDLE_FIX_DESTINATION [==[${destination}]==])
include([==[${package}/scripts/InstallPack.cmake]==])
" COMPONENT "${component}" EXCLUDE_FROM_ALL)
endfunction()
