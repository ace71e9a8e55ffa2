# _bundle_fix_use_cmake_words(): return the report of the program with arguments of
# bundle_fix_install() instead of options of the command line. The report is wrapped at any space.
function(_bundle_fix_use_cmake_words result report)
  string(REGEX REPLACE "pass([ \n]+)--host-provides([ \n]+)([^ \n]*[^ \n.])"
         "add\\1HOST_PROVIDES\\2\\3 to bundle_fix_install()" report "${report}")
  string(REPLACE "use --force to write it despite the findings"
         "add KEEP_GOING to install the files despite the findings" report "${report}")
  set(${result} "${report}" PARENT_SCOPE)
endfunction()
