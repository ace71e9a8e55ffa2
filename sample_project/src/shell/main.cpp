// Reads and writes a table by hand: pegasus_shell DIR set KEY VALUE | get KEY | partition KEY
#include "pegasus/client.h"

#include <exception>
#include <iostream>
#include <string>
#include <vector>

int main(int argc, char **argv)
{
    const std::vector<std::string> words(argv + 1, argv + argc);
    try {
        if (words.size() == 4 && words[1] == "set") {
            pegasus::client(words[0]).set(words[2], words[3]);
            return 0;
        }
        if (words.size() == 3 && words[1] == "get") {
            std::cout << pegasus::client(words[0]).get(words[2]).value_or("not found") << '\n';
            return 0;
        }
        if (words.size() == 3 && words[1] == "partition") {
            std::cout << pegasus::client(words[0]).partition_of(words[2]) << '\n';
            return 0;
        }
    } catch (const std::exception &error) {
        std::cerr << "pegasus_shell: " << error.what() << '\n';
        return 1;
    }
    std::cerr << "usage: pegasus_shell DIR set KEY VALUE | get KEY | partition KEY\n";
    return 2;
}
