// Pegasus's build writes this file from git; the sample's is fixed, so that packs compare.
#pragma once
#define GIT_COMMIT "5a3d1e9c47b80f26d94ac1736e0b52f8d71c6a04"
