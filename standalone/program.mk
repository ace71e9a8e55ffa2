# Added to CPython's Makefile: bin/bundle-fix, which contains the interpreter. All of its objects are
# linked, and their symbols exported, as extension modules may use any part of the C API.
include Makefile

bundle-fix: $(MAIN) $(LIBRARY)
	$(LINKCC) $(PY_CORE_CFLAGS) $(PY_CORE_LDFLAGS) $(LINKFORSHARED) -o $@ $(MAIN) \
	  -Wl,--whole-archive $(LIBRARY) -Wl,--no-whole-archive $(LIBS) $(MODLIBS) $(SYSLIBS)
