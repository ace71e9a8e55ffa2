#include "server/allocator.h"

#include "gperftools/tcmalloc.h"

#include <dlfcn.h>

#include <filesystem>

namespace pegasus {

std::string describe_allocator()
{
    // Asked of the loader, not of /proc, which a container need not have; and by name, because
    // the address of malloc may be a stub inside the program.
    std::string file = "unknown file";
    Dl_info info{};
    if (dladdr(dlsym(RTLD_DEFAULT, "malloc"), &info) != 0) {
        std::error_code error;
        const auto path = std::filesystem::canonical(info.dli_fname, error);
        file = error ? info.dli_fname : path.string();
    }
    return std::string(tc_version(nullptr, nullptr, nullptr)) + " (" + file + ")";
}

} // namespace pegasus
