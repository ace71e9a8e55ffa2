"""The CMake package BundleFix; the entry point ``cmake.root`` refers to this directory."""
