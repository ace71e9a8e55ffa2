# Added to CPython's Makefile: bin/bundle-fix, which contains the interpreter. All of its objects are
# linked, and their symbols exported, as extension modules may use any part of the C API.
include Makefile

# sha2.o has the functions of CPython's libHacl_Hash_SHA2.a, which is therefore not linked.
SHA2 = 7zip/sha2.o 7zip/Sha256Opt.o 7zip/CpuArch.o
$(SHA2): PY_CORE_CFLAGS += $(LIBHACL_CFLAGS) -I$(srcdir)/Modules/_hacl -w

bundle-fix: $(MAIN) $(SHA2) $(LIBRARY)
	$(LINKCC) $(PY_CORE_CFLAGS) $(PY_CORE_LDFLAGS) $(LINKFORSHARED) -o $@ $(MAIN) $(SHA2) \
	  -Wl,--whole-archive $(LIBRARY) -Wl,--no-whole-archive $(LIBS) $(MODLIBS) $(SYSLIBS)
