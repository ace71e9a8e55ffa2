// The separate replica server: writes a replica and takes a checkpoint, like the combined server.
#include "replica/replica.h"
#include "server/allocator.h"
#include "utils/temporary_directory.h"

#include <iostream>

int main()
{
    std::cout << "allocator: " << pegasus::describe_allocator() << '\n';
    const dsn::utils::temporary_directory dir;
    dsn::replication::replica replica(dir.path() / "1.0.pegasus");
    replica.put("key", "value");
    const rocksdb::DB copy(replica.checkpoint());
    std::cout << "in the checkpoint: " << copy.Get("key").value_or("nothing") << '\n';
    return copy.Get("key") == "value" ? 0 : 1;
}
