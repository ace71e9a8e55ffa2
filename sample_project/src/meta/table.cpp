#include "meta/table.h"

#include "utils/hash.h"

namespace dsn::meta {

table::table(int app_id, int partition_count) : _app_id(app_id), _partition_count(partition_count)
{
}

int table::partition_of(const std::string &hash_key) const
{
    return static_cast<int>(utils::hash64(hash_key) % static_cast<unsigned>(_partition_count));
}

std::string table::replica_name(int partition) const
{
    return std::to_string(_app_id) + "." + std::to_string(partition) + ".pegasus";
}

} // namespace dsn::meta
