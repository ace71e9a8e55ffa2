#include "server/demo.h"

#include "meta/table.h"
#include "replica/replica.h"
#include "server/digest.h"

#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace pegasus {
namespace {

constexpr int kKeys = 100;

std::string key_of(int i) { return "user" + std::to_string(i); }
std::string value_of(int i) { return "value of " + key_of(i); }

} // namespace

void run_demo(const std::filesystem::path &dir)
{
    const dsn::meta::table table(1, 2);
    std::vector<std::unique_ptr<dsn::replication::replica>> replicas;
    for (int p = 0; p < table.partition_count(); ++p) {
        replicas.push_back(
            std::make_unique<dsn::replication::replica>(dir / table.replica_name(p)));
    }

    for (int i = 0; i < kKeys; ++i) {
        replicas[table.partition_of(key_of(i))]->put(key_of(i), value_of(i));
    }
    std::cout << "wrote " << kKeys << " keys to " << replicas.size() << " replicas in "
              << dir.string() << '\n';

    std::vector<std::unique_ptr<rocksdb::DB>> checkpoints;
    for (int p = 0; p < table.partition_count(); ++p) {
        std::cout << "checkpoint of replica " << table.replica_name(p) << " ...\n";
        checkpoints.push_back(std::make_unique<rocksdb::DB>(replicas[p]->checkpoint()));
    }

    std::string all;
    for (int i = 0; i < kKeys; ++i) {
        const auto value = checkpoints[table.partition_of(key_of(i))]->Get(key_of(i));
        if (value != value_of(i)) {
            throw std::runtime_error("the checkpoint has lost " + key_of(i));
        }
        all += *value;
    }
    std::cout << "read " << kKeys << " keys back from the checkpoints, sha256 " << sha256(all)
              << '\n';
}

} // namespace pegasus
