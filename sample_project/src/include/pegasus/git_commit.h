// Pegasus's build generates this file from git; here it is fixed to make packs reproducible.
#pragma once
#define GIT_COMMIT "5a3d1e9c47b80f26d94ac1736e0b52f8d71c6a04"
