#include "server/allocator.h"

#include "gperftools/tcmalloc.h"

#include <dlfcn.h>

#include <filesystem>

namespace pegasus {

std::string describe_allocator()
{
    // From the loader, because a container may lack /proc. By name, because &malloc may be the
    // address of a PLT stub in the program.
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
