# _bundle_fix_find_elf_outside(): of the paths in the other arguments, return those of ELF files (or
# of symlinks to them) that are not below PREFIX. PREFIX is empty for the root directory. The files
# are on disk at DESTDIR + path.
function(_bundle_fix_find_elf_outside result destdir prefix)
  set(found "")
  foreach(path IN LISTS ARGN)
    string(FIND "${path}" "${prefix}/" position)
    if(NOT position EQUAL 0 AND EXISTS "${destdir}${path}" AND NOT IS_DIRECTORY "${destdir}${path}")
      file(READ "${destdir}${path}" magic LIMIT 4 HEX)
      if(magic STREQUAL "7f454c46")
        list(APPEND found "${path}")
      endif()
    endif()
  endforeach()
  set(${result} "${found}" PARENT_SCOPE)
endfunction()
