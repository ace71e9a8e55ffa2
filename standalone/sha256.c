/* SHA-256 with the instructions that x86_64 and aarch64 processors have for it, by 7-Zip's code.
 *
 * It replaces the function below in CPython's Hacl_Hash_SHA2.c, to which this file is appended:
 * 1.4 GB instead of 0.2 GB a second. On older processors, 7-Zip's portable code is used. */
#include "Sha256.c"

__attribute__((constructor)) static void choose_sha256(void)
{
    Sha256Prepare();
}

void Hacl_Hash_SHA2_sha256_update_nblocks(uint32_t len, uint8_t *b, uint32_t *st)
{
    g_SHA256_FUNC_UPDATE_BLOCKS(st, b, len / 64);
}
