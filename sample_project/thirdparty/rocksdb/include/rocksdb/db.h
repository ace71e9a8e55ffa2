// A stand-in for RocksDB: a sorted table in memory, a log of what was put since the last flush,
// and one file with all the rest. It shares with RocksDB its name, its soname and one habit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace rocksdb {

// One cache line each, so that no two threads fight over one.
struct alignas(64) LiveFile {
    char name[48];
    std::uint64_t size;
};

// The habit: RocksDB takes cache-aligned memory from aligned_alloc and gives it back to free. In
// one allocator that is right; if free belongs to a tcmalloc that has no aligned_alloc, it aborts.
struct Freed {
    void operator()(void *memory) const { std::free(memory); }
};

struct LiveFiles {
    std::unique_ptr<LiveFile[], Freed> files;
    std::size_t count = 0;
};

class DB {
public:
    // Opens the database in a directory, which is made if need be; throws std::runtime_error.
    explicit DB(const std::filesystem::path &directory);

    void Put(const std::string &key, const std::string &value);
    std::optional<std::string> Get(const std::string &key) const;

    // Writes everything out and lists the files that a copy of the database consists of.
    LiveFiles FlushAndListFiles();

private:
    void Load(const std::filesystem::path &file);

    std::filesystem::path directory_;
    std::map<std::string, std::string> table_;
    std::ofstream log_;
};

const char *Version();

} // namespace rocksdb
