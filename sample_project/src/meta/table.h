#pragma once

#include <string>

namespace dsn::meta {

// The meta server's record of a table: its id and the mapping of keys to partitions.
class table
{
public:
    table(int app_id, int partition_count);

    int partition_count() const { return _partition_count; }
    int partition_of(const std::string &hash_key) const;
    std::string replica_name(int partition) const; // "1.0.pegasus": app, partition, type

private:
    int _app_id;
    int _partition_count;
};

} // namespace dsn::meta
