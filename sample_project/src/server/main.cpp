#include "pegasus/git_commit.h"
#include "pegasus/version.h"
#include "rocksdb/db.h"
#include "server/allocator.h"
#include "server/demo.h"
#include "utils/temporary_directory.h"

#include <exception>
#include <iostream>
#include <string>

namespace {

constexpr const char *kUsage = "usage: pegasus_server --demo [DIR] | --version\n";

void print_version()
{
    std::cout << "pegasus_server " PEGASUS_VERSION " (" GIT_COMMIT "), rocksdb "
              << rocksdb::Version() << '\n';
}

void demo(int argc, char **argv)
{
    std::cout << std::unitbuf; // an abort must not lose the output before it
    print_version();
    std::cout << "allocator: " << pegasus::describe_allocator() << '\n';
    if (argc == 3) {
        pegasus::run_demo(argv[2]);
    } else {
        const dsn::utils::temporary_directory dir;
        pegasus::run_demo(dir.path());
    }
    std::cout << "done\n";
}

} // namespace

int main(int argc, char **argv)
{
    const std::string command = argc > 1 ? argv[1] : "";
    try {
        if (command == "--version" && argc == 2) {
            print_version();
        } else if (command == "--demo" && argc <= 3) {
            demo(argc, argv);
        } else {
            std::cerr << kUsage;
            return 2;
        }
    } catch (const std::exception &error) {
        std::cerr << "pegasus_server: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
