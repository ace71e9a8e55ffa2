#pragma once

#include <filesystem>

namespace dsn::utils {

// A new directory in $TMPDIR (or /tmp); the destructor removes it.
class temporary_directory
{
public:
    temporary_directory();
    ~temporary_directory();
    temporary_directory(const temporary_directory &) = delete;
    temporary_directory &operator=(const temporary_directory &) = delete;

    const std::filesystem::path &path() const { return _path; }

private:
    std::filesystem::path _path;
};

} // namespace dsn::utils
