// The separate meta server: prints the replica of each key.
#include "meta/table.h"
#include "server/allocator.h"

#include <iostream>

int main(int argc, char **argv)
{
    const dsn::meta::table table(1, 2);
    std::cout << "allocator: " << pegasus::describe_allocator() << '\n';
    for (int i = 1; i < argc; ++i) {
        std::cout << argv[i] << ": " << table.replica_name(table.partition_of(argv[i])) << '\n';
    }
    return 0;
}
