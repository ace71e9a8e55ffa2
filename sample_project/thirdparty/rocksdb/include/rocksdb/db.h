// A stand-in for RocksDB: a sorted table in memory, a log of the writes since the last flush and
// one file with the older data. It has RocksDB's name, its soname and its use of aligned_alloc.
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

// One cache line per entry, so that threads do not share cache lines.
struct alignas(64) LiveFile {
    char name[48];
    std::uint64_t size;
};

// Like RocksDB, get cache-aligned memory from aligned_alloc and return it to free. This aborts if
// free belongs to a tcmalloc without aligned_alloc, because libc then provides aligned_alloc.
struct Freed {
    void operator()(void *memory) const { std::free(memory); }
};

struct LiveFiles {
    std::unique_ptr<LiveFile[], Freed> files;
    std::size_t count = 0;
};

class DB {
public:
    // Opens or creates the database in a directory; throws std::runtime_error.
    explicit DB(const std::filesystem::path &directory);

    void Put(const std::string &key, const std::string &value);
    std::optional<std::string> Get(const std::string &key) const;

    // Flushes the database and lists its files, which together are a complete copy.
    LiveFiles FlushAndListFiles();

private:
    void Load(const std::filesystem::path &file);

    std::filesystem::path directory_;
    std::map<std::string, std::string> table_;
    std::ofstream log_;
};

const char *Version();

} // namespace rocksdb
