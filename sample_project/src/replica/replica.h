#pragma once

#include "rocksdb/db.h"

#include <filesystem>
#include <optional>
#include <string>

namespace dsn::replication {

// One partition's data on this machine.
class replica
{
public:
    explicit replica(const std::filesystem::path &dir);

    void put(const std::string &key, const std::string &value);
    std::optional<std::string> get(const std::string &key) const;

    // Copies the current database to a new directory and returns its path.
    std::filesystem::path checkpoint();

private:
    std::filesystem::path _dir;
    rocksdb::DB _db;
};

} // namespace dsn::replication
