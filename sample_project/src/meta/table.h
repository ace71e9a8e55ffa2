#pragma once

#include <string>

namespace dsn::meta {

// What the meta server knows of a table: its id, and which partition a key belongs to.
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
