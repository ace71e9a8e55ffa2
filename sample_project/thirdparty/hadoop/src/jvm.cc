// A stand-in for the JDK's library: it cannot start Java.
extern "C" int JNI_GetCreatedJavaVMs(void **, int, int *count)
{
    *count = 0;
    return 0;
}
