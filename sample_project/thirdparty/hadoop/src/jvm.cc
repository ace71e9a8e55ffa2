// A stand-in for the JDK's library: there is no Java to start.
extern "C" int JNI_GetCreatedJavaVMs(void **, int, int *count)
{
    *count = 0;
    return 0;
}
