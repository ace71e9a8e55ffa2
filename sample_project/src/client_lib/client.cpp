#include "pegasus/client.h"

#include "meta/table.h"
#include "replica/replica.h"

#include <vector>

namespace pegasus {

struct client::state {
    dsn::meta::table table{1, 2};
    std::vector<std::unique_ptr<dsn::replication::replica>> replicas;
};

client::client(const std::filesystem::path &dir) : _state(std::make_unique<state>())
{
    for (int p = 0; p < _state->table.partition_count(); ++p) {
        _state->replicas.push_back(
            std::make_unique<dsn::replication::replica>(dir / _state->table.replica_name(p)));
    }
}

client::~client() = default;

void client::set(const std::string &hash_key, const std::string &value)
{
    _state->replicas[partition_of(hash_key)]->put(hash_key, value);
}

std::optional<std::string> client::get(const std::string &hash_key) const
{
    return _state->replicas[partition_of(hash_key)]->get(hash_key);
}

int client::partition_of(const std::string &hash_key) const
{
    return _state->table.partition_of(hash_key);
}

} // namespace pegasus
