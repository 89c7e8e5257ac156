/* A stand-in for NVIDIA's libcuda.so.1, for tests without a GPU: memory is the host's, copies are made, kernels are
   loaded and launched but do nothing. What is not here succeeds and does nothing. fake_launches, fake_allocations and
   fake_waits count; fake_..._left calls succeed before one fails for lack of memory, with -1 all; all memory lies on the
   GPU fake_ordinal. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned int uint;
typedef unsigned long long address;

static const int SUCCESS = 0, OUT_OF_MEMORY = 2, INVALID_CONTEXT = 201;
static void *const CONTEXT = (void *)0x1000;
static __thread void *contexts[64];
static __thread int depth = 0;
static long handles = 0x2000;

long fake_launches = 0, fake_allocations = 0, fake_waits = 0, fake_ordinal = 0;
long fake_launches_left = -1, fake_loads_left = -1, fake_host_allocations_left = -1;

static void *new_handle(void) { return (void *)(handles += 16); }
static int nothing(void) { return SUCCESS; }
static int fails(long *left) { return *left >= 0 && (*left)-- == 0; }

int cuGetErrorName(int error, const char **name) {
    *name = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR";
    return SUCCESS;
}
int cuGetErrorString(int error, const char **text) { return cuGetErrorName(error, text); }

int cuDriverGetVersion(int *version) { *version = 13000; return SUCCESS; }
int cuDeviceGetCount(int *n) { *n = 1; return SUCCESS; }
int cuDeviceGet(int *device, int number) { *device = number; return SUCCESS; }
int cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "no GPU"); return SUCCESS; }
int cuDeviceGetUuid_v2(char *uuid, int device) { memset(uuid, 1, 16); return SUCCESS; }
int cuDeviceTotalMem_v2(size_t *n_bytes, int device) { *n_bytes = 1ull << 36; return SUCCESS; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
        case 1: case 2: case 3: *value = 1024; break; /* threads of a block */
        case 4: *value = 64; break;
        case 5: *value = 2147483647; break; /* blocks of a grid */
        case 6: case 7: *value = 65535; break;
        case 8: *value = 49152; break; /* shared memory */
        case 10: *value = 32; break; /* lanes of a warp */
        case 12: *value = 65536; break; /* registers */
        case 16: *value = 132; break; /* multiprocessors */
        case 39: *value = 2048; break;
        case 75: *value = 9; break; /* compute capability 9.0 */
        case 76: *value = 0; break;
        default: *value = 1;
    }
    return SUCCESS;
}

int cuDevicePrimaryCtxRetain(void **context, int device) { *context = CONTEXT; return SUCCESS; }
int cuDevicePrimaryCtxGetState(int device, uint *flags, int *active) { *flags = 0; *active = 1; return SUCCESS; }
int cuCtxPushCurrent_v2(void *context) { contexts[depth++] = context; return SUCCESS; }
int cuCtxPopCurrent_v2(void **context) {
    if (!depth) return INVALID_CONTEXT;
    depth--;
    if (context) *context = contexts[depth];
    return SUCCESS;
}
int cuCtxGetCurrent(void **context) { *context = depth ? contexts[depth - 1] : NULL; return SUCCESS; }
int cuCtxSetCurrent(void *context) {
    if (!context) depth = depth ? depth - 1 : 0;
    else contexts[depth ? depth - 1 : depth++] = context;
    return SUCCESS;
}
int cuCtxGetDevice(int *device) { *device = 0; return depth ? SUCCESS : INVALID_CONTEXT; }
int cuCtxGetDevice_v2(int *device, void *context) { *device = 0; return SUCCESS; }
int cuCtxGetId(void *context, unsigned long long *id) { *id = 1; return SUCCESS; }

int cuMemAlloc_v2(address *to, size_t n_bytes) {
    void *memory = calloc(n_bytes ? n_bytes : 1, 1);
    if (!memory) return OUT_OF_MEMORY;
    fake_allocations++;
    *to = (address)memory;
    return SUCCESS;
}
int cuMemFree_v2(address memory) { free((void *)memory); return SUCCESS; }
int cuMemHostAlloc(void **to, size_t n_bytes, uint flags) {
    if (fails(&fake_host_allocations_left)) return OUT_OF_MEMORY;
    fake_allocations++;
    return posix_memalign(to, 4096, n_bytes ? n_bytes : 1) ? OUT_OF_MEMORY : SUCCESS;
}
int cuMemAllocHost_v2(void **to, size_t n_bytes) { return cuMemHostAlloc(to, n_bytes, 0); }
int cuMemFreeHost(void *memory) { free(memory); return SUCCESS; }
int cuMemHostGetDevicePointer_v2(address *to, void *memory, uint flags) { *to = (address)memory; return SUCCESS; }
int cuMemGetInfo_v2(size_t *left, size_t *all) { *left = 1ull << 35; *all = 1ull << 36; return SUCCESS; }
int cuMemcpyHtoD_v2(address to, const void *from, size_t n) { memcpy((void *)to, from, n); return SUCCESS; }
int cuMemcpyDtoH_v2(void *to, address from, size_t n) { memcpy(to, (void *)from, n); return SUCCESS; }
int cuMemcpyDtoD_v2(address to, address from, size_t n) { memcpy((void *)to, (void *)from, n); return SUCCESS; }
int cuMemcpyHtoDAsync_v2(address to, const void *from, size_t n, void *stream) { return cuMemcpyHtoD_v2(to, from, n); }
int cuMemcpyDtoHAsync_v2(void *to, address from, size_t n, void *stream) { return cuMemcpyDtoH_v2(to, from, n); }
int cuMemcpyDtoDAsync_v2(address to, address from, size_t n, void *stream) { return cuMemcpyDtoD_v2(to, from, n); }
int cuMemsetD8_v2(address to, unsigned char value, size_t n) { memset((void *)to, value, n); return SUCCESS; }
int cuPointerGetAttribute(void *value, int attribute, address pointer) {
    if (attribute == 9) *(int *)value = (int)fake_ordinal;
    else *(void **)value = attribute == 1 ? CONTEXT : NULL;
    return SUCCESS;
}

int cuStreamCreate(void **stream, uint flags) { *stream = new_handle(); return SUCCESS; }
int cuStreamCreateWithPriority(void **stream, uint flags, int priority) { return cuStreamCreate(stream, flags); }
int cuStreamGetCtx(void *stream, void **context) { *context = CONTEXT; return SUCCESS; }
int cuStreamGetCtx_v2(void *stream, void **context, void **green) {
    *context = CONTEXT;
    if (green) *green = NULL;
    return SUCCESS;
}
int cuEventCreate(void **event, uint flags) { *event = new_handle(); return SUCCESS; }
int cuStreamWaitEvent(void *stream, void *event, uint flags) { fake_waits++; return SUCCESS; }
int cuEventElapsedTime_v2(float *ms, void *begin, void *end) { *ms = 1; return SUCCESS; }

int cuModuleLoadDataEx(void **module, const void *image, uint n, void *options, void **values) {
    *module = new_handle();
    return SUCCESS;
}
int cuModuleGetFunction(void **function, void *module, const char *name) { *function = new_handle(); return SUCCESS; }
int cuLibraryLoadData(void **library, const void *code, void *a, void **b, uint c, void *d, void **e, uint f) {
    if (fails(&fake_loads_left)) return OUT_OF_MEMORY;
    *library = new_handle();
    return SUCCESS;
}
int cuLibraryGetKernel(void **kernel, void *library, const char *name) { *kernel = new_handle(); return SUCCESS; }
int cuKernelGetFunction(void **function, void *kernel) { *function = kernel; return SUCCESS; }
int cuKernelGetLibrary(void **library, void *kernel) { *library = CONTEXT; return SUCCESS; }
int cuFuncGetAttribute(int *value, int attribute, void *function) {
    *value = attribute == 0 ? 1024 : attribute == 4 ? 40 : 0; /* threads of a block, registers */
    return SUCCESS;
}
int cuKernelGetAttribute(int *value, int attribute, void *kernel, int device) {
    return cuFuncGetAttribute(value, attribute, kernel);
}
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, void *function, int threads, size_t shared) {
    *n = 4;
    return SUCCESS;
}
int cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, void *f, int threads, size_t shared, uint flags) {
    return cuOccupancyMaxActiveBlocksPerMultiprocessor(n, f, threads, shared);
}
int cuLaunchKernelEx(const void *config, void *function, void **arguments, void **extra) {
    fake_launches++;
    return fails(&fake_launches_left) ? OUT_OF_MEMORY : SUCCESS;
}
int cuLaunchKernel(
    void *function, uint a, uint b, uint c, uint d, uint e, uint f, uint shared, void *stream, void **arguments,
    void **extra
) {
    fake_launches++;
    return fails(&fake_launches_left) ? OUT_OF_MEMORY : SUCCESS;
}

int cuGetProcAddress_v2(const char *name, void **found, int version, unsigned long long flags, int *status) {
    static void *self = NULL;
    char versioned[256];
    Dl_info info;
    if (!self && dladdr((void *)nothing, &info)) self = dlopen(info.dli_fname, RTLD_LAZY);
    snprintf(versioned, sizeof versioned, "%s_v2", name);
    *found = dlsym(self, versioned);
    if (!*found) *found = dlsym(self, name);
    if (!*found) *found = (void *)nothing;
    if (status) *status = 0;
    return SUCCESS;
}
