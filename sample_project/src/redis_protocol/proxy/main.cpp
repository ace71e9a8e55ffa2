// Answers three Redis commands, one per line of stdin: SET KEY VALUE, GET KEY, PING.
#include "pegasus/client.h"
#include "utils/temporary_directory.h"

#include <iostream>
#include <sstream>
#include <string>

int main()
{
    const dsn::utils::temporary_directory dir;
    pegasus::client client(dir.path());
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string command, key, value;
        words >> command >> key >> value;
        if (command == "PING") {
            std::cout << "+PONG\n";
        } else if (command == "SET" && !value.empty()) {
            client.set(key, value);
            std::cout << "+OK\n";
        } else if (command == "GET" && !key.empty()) {
            std::cout << '+' << client.get(key).value_or("(nil)") << '\n';
        } else {
            std::cout << "-ERR unknown command\n";
        }
    }
    return 0;
}
