// A stand-in for Hadoop's client: connecting always fails.
extern "C" {

int JNI_GetCreatedJavaVMs(void **machines, int length, int *count);

void *hdfsConnect(const char *, unsigned short) // null: not connected
{
    void *machine = nullptr;
    int count = 0;
    return JNI_GetCreatedJavaVMs(&machine, 1, &count) == 0 && count > 0 ? machine : nullptr;
}

} // extern "C"
