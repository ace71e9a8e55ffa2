/* bin/bundle-fix: CPython with one program, `bundle_fix.cli.main.run`.
 *
 * It finds lib/ next to bin/ by the file that the kernel runs, so it may be started from anywhere,
 * through symlinks and without a shell. The interpreter is isolated (PEP 587): no variable of the
 * environment, no directory of the user and no .pth file has an influence, and the environment
 * stays as it is for the programs that bundle-fix starts. */
#define _GNU_SOURCE
#include <Python.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define LIBRARY "/lib/python" Py_STRINGIFY(PY_MAJOR_VERSION) "." Py_STRINGIFY(PY_MINOR_VERSION)

/* Set `root` to the directory above bin/, if `program` is a file of such a directory. */
static int find_root(const char *program, char *executable, char *root)
{
    char landmark[PATH_MAX + sizeof LIBRARY];

    if (program == NULL || realpath(program, executable) == NULL)
        return 0;
    strcpy(root, executable);
    for (int level = 0; level < 2; level++) {
        char *slash = strrchr(root, '/');
        if (slash == NULL)
            return 0;
        *slash = '\0';
    }
    snprintf(landmark, sizeof landmark, "%s" LIBRARY, root);
    return access(landmark, R_OK | X_OK) == 0;
}

static PyStatus append_path(PyConfig *config, const char *root, const char *path)
{
    char text[2 * PATH_MAX];
    PyStatus status;
    wchar_t *decoded;

    snprintf(text, sizeof text, "%s%s", root, path);
    if ((decoded = Py_DecodeLocale(text, NULL)) == NULL)
        return PyStatus_NoMemory();
    status = PyWideStringList_Append(&config->module_search_paths, decoded);
    PyMem_RawFree(decoded);
    return status;
}

/* Set every path, so that CPython searches none (Modules/getpath.py). */
static PyStatus set_paths(PyConfig *config, const char *executable, const char *root)
{
    struct { wchar_t **setting; const char *value; } settings[] = {
        {&config->program_name, executable}, {&config->executable, executable},
        {&config->base_executable, executable}, {&config->home, root}, {&config->prefix, root},
        {&config->base_prefix, root}, {&config->exec_prefix, root},
        {&config->base_exec_prefix, root},
    };
    PyStatus status = PyStatus_Ok();

    for (size_t n = 0; n < sizeof settings / sizeof *settings && !PyStatus_Exception(status); n++)
        status = PyConfig_SetBytesString(config, settings[n].setting, settings[n].value);
    config->module_search_paths_set = 1;
    if (!PyStatus_Exception(status))
        status = append_path(config, root, LIBRARY);
    if (!PyStatus_Exception(status))
        status = append_path(config, root, LIBRARY "/site-packages");
    return status;
}

static PyStatus start_python(int argc, char **argv, const char *executable, const char *root)
{
    PyPreConfig preconfig;
    PyConfig config;
    PyStatus status;

    PyPreConfig_InitIsolatedConfig(&preconfig);
    preconfig.utf8_mode = 1;  /* names in archives are UTF-8, whatever the locale (PEP 540) */
    status = Py_PreInitialize(&preconfig);
    if (PyStatus_Exception(status))
        return status;
    PyConfig_InitIsolatedConfig(&config);
    config.site_import = 0;
    config.write_bytecode = 0;
    config.parse_argv = 0;
    config.install_signal_handlers = 1;
    status = PyConfig_SetBytesArgv(&config, argc, argv);
    if (!PyStatus_Exception(status))
        status = set_paths(&config, executable, root);
    if (!PyStatus_Exception(status))
        status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    return status;
}

int main(int argc, char **argv)
{
    char executable[PATH_MAX], root[PATH_MAX];
    PyObject *module;
    PyStatus status;

    /* Without /proc, the path that execve(2) was called with. */
    if (!find_root("/proc/self/exe", executable, root)
        && !find_root((const char *)getauxval(AT_EXECFN), executable, root)) {
        fprintf(stderr, "bundle-fix: error: no .." LIBRARY " next to the directory of this program;"
                        " unpack the whole tarball and run its bin/bundle-fix\n");
        return 2;
    }
    status = start_python(argc, argv, executable, root);
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
    module = PyImport_ImportModule("bundle_fix.cli.main");
    if (module != NULL)
        PyObject_CallMethod(module, "run", NULL);
    PyErr_Print();  /* exits with the status of SystemExit; prints any other exception */
    return Py_FinalizeEx() < 0 ? 120 : 1;
}
