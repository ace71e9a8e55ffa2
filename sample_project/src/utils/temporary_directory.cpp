#include "utils/temporary_directory.h"

#include <cerrno>
#include <cstdlib>
#include <string>
#include <system_error>

namespace dsn::utils {

temporary_directory::temporary_directory()
{
    const char *parent = std::getenv("TMPDIR");
    std::string name = (parent != nullptr && *parent != '\0') ? parent : "/tmp";
    name += "/pegasus.XXXXXX";
    if (mkdtemp(name.data()) == nullptr) {
        throw std::system_error(errno, std::generic_category(), name);
    }
    _path = name;
}

temporary_directory::~temporary_directory()
{
    std::error_code ignored;
    std::filesystem::remove_all(_path, ignored);
}

} // namespace dsn::utils
