#include "replica/replica.h"

namespace dsn::replication {

namespace fs = std::filesystem;

replica::replica(const fs::path &dir) : _dir(dir), _db(dir / "rdb") {}

void replica::put(const std::string &key, const std::string &value) { _db.Put(key, value); }

std::optional<std::string> replica::get(const std::string &key) const { return _db.Get(key); }

fs::path replica::checkpoint()
{
    int number = 1;
    while (fs::exists(_dir / ("checkpoint." + std::to_string(number)))) {
        ++number;
    }
    const fs::path target = _dir / ("checkpoint." + std::to_string(number));
    fs::create_directories(target);

    // librocksdb allocates the list and this library frees it, so both must use one allocator.
    const rocksdb::LiveFiles live = _db.FlushAndListFiles();
    for (std::size_t i = 0; i < live.count; ++i) {
        fs::copy_file(_dir / "rdb" / live.files[i].name, target / live.files[i].name);
    }
    return target;
}

} // namespace dsn::replication
