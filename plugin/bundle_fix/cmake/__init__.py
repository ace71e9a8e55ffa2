"""The CMake package BundleFix; the entry point ``cmake.root`` names this folder."""
