// Opens one CUDA library at the first call of any of its functions (lazy.S). Where it is not there, every function
// answers with an error code, so that a binary with CUDA starts anywhere.
//
// SONAMES: its file names, newest first. MISSING: the code, CUDA_ERROR_NO_DEVICE or what the library has for it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct function {
    const char *name;
    void **slot;
};
extern const struct function lazy_table[] __attribute__((visibility("hidden")));

static const char *const sonames[] = {SONAMES, NULL};
static const char *const folders[] = {"/usr/local/cuda/lib64", "/usr/local/nvidia/lib64", "/usr/lib/x86_64-linux-gnu",
                                      "/usr/lib/wsl/lib", NULL};
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int missing(void) { return MISSING; }

// NVRTC looks for its second library by name alone, and finds it where it is open already.
static void open_builtins(const char *folder, size_t length) {
    char pattern[4096];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%.*s/libnvrtc-builtins.so.*", (int)length, folder);
    if (glob(pattern, 0, NULL, &found) != 0) return;
    for (size_t i = 0; i < found.gl_pathc; i++) dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_GLOBAL);
    globfree(&found);
}

static void *open_in(const char *folder, size_t length, const char *soname) {
    char path[4096];
    if (snprintf(path, sizeof path, "%.*s/%s", (int)length, folder, soname) >= (int)sizeof path) return NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (library && strncmp(soname, "libnvrtc", 8) == 0) open_builtins(folder, length);
    return library;
}

// In the folders of LORE_CUDA_PATH (with colons between them), where the loader looks, and in the usual places.
static void *open_library(const char *soname) {
    for (const char *rest = getenv("LORE_CUDA_PATH"); rest && *rest;) {
        const size_t length = strcspn(rest, ":");
        void *library = length ? open_in(rest, length, soname) : NULL;
        if (library) return library;
        rest += length + (rest[length] == ':');
    }
    void *library = dlopen(soname, RTLD_NOW | RTLD_GLOBAL);
    for (int i = 0; !library && folders[i]; i++) library = open_in(folders[i], strlen(folders[i]), soname);
    return library;
}

static void bind_all(void) {
    void *library = NULL;
    for (int i = 0; !library && sonames[i]; i++) library = open_library(sonames[i]);
    for (const struct function *function = lazy_table; function->name; function++) {
        void *real = library ? dlsym(library, function->name) : NULL;
        __atomic_store_n(function->slot, real ? real : (void *)missing, __ATOMIC_RELEASE);
    }
}

__attribute__((visibility("hidden"))) void lazy_bind(void) { pthread_once(&once, bind_all); }
