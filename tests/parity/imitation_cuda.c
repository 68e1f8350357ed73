/* An imitation of the CUDA, cuBLAS and cuDNN calls of cudnn_network.py and of fortran/, on the CPU.

   Machine code is a library of tests/emulated_gpu.py, named in a file: see cuModuleLoad.

   It lets their code run where there is no GPU: every argument that the real library checks
   is checked here, and "device" memory is the host's. Signatures follow NVIDIA's API references.
   One file, linked under the name of each library. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fenv.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))
#define BAD 3000
#define CHECK(condition) do { if (!(condition)) return BAD + __LINE__; } while (0)

enum { TENSOR = 1, FILTER, CONVOLUTION, ACTIVATION, DNN, BLAS, EVENT };
typedef struct { int kind, a[9]; double coefficient; } Object;

static int create(void **out, int kind) {
    Object *object = calloc(1, sizeof(Object));
    object->kind = kind;
    *out = object;
    return 0;
}
static int is(const void *p, int kind) { return p && ((const Object *)p)->kind == kind; }
static int same(const Object *x, const Object *y) { return !memcmp(x->a, y->a, 4 * sizeof(int)); }

/* driver */
API int cuInit(unsigned flags) { return flags != 0; }
API int cuDeviceGetCount(int *count) { *count = 1; return 0; }
API int cuDeviceGetName(char *name, int size, int device) {
    CHECK(device == 0);
    snprintf(name, size, "imitation");
    return 0;
}

/* Kernels. A module's file names the library that has its functions, as run_*, on one line; on the
   next stand the threads, shared bytes and units of a block of `train`, and if it keeps layers. */
typedef struct { void *functions; int threads, bytes, units, keeps; } Module;
typedef struct { Module *module; void *run; int is_train, most_bytes; } Kernel;
typedef void RunTrain(int, int, int, const void *, const float *, const float *, float *,
                      const float *, float *, int, int, int, int, int, int, float *);
typedef void RunSums(int, int, const float *, int, float *, float);
enum { SUMS = 2626, SUMS_STRIDE = 2656, SUM_COLUMNS = 32, STRIP = 44 };
static int units_before = 0; /* of the last launch of `train`, whose sums come next */

API int cuModuleLoad(void **out, const char *path) {
    char library[4096];
    Module made;
    FILE *file = fopen(path, "r");
    CHECK(file);
    int found = fscanf(file, "%4095[^\n] %d %d %d %d", library, &made.threads, &made.bytes,
                       &made.units, &made.keeps);
    fclose(file);
    CHECK(found == 5);
    made.functions = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    CHECK(made.functions);
    *out = memcpy(malloc(sizeof made), &made, sizeof made);
    return 0;
}
API int cuModuleGetFunction(void **out, void *module, const char *name) {
    char run[64];
    snprintf(run, sizeof run, "run_%s", name);
    Kernel made = {module, dlsym(((Module *)module)->functions, run), 0, 48 << 10};
    CHECK(made.run);
    made.is_train = !strcmp(name, "train");
    *out = memcpy(malloc(sizeof made), &made, sizeof made);
    return 0;
}
API int cuFuncSetAttribute(void *function, int attribute, int value) {
    CHECK(attribute == 8 && value > 0 && value <= 227 << 10);
    ((Kernel *)function)->most_bytes = value;
    return 0;
}
static int holds(void *p, size_t floats) { return p && malloc_usable_size(p) >= 4 * floats; }
API int cuLaunchKernel(void *function, unsigned grid, unsigned grid_y, unsigned grid_z,
                       unsigned threads, unsigned threads_y, unsigned threads_z, unsigned bytes,
                       void *stream, void **arguments, void **extra) {
    const Kernel *kernel = function;
    const Module *module = kernel->module;
#define AN(type, i) (*(type *)arguments[i])
    CHECK(grid_y == 1 && grid_z == 1 && threads_y == 1 && threads_z == 1 && !stream && !extra);
    CHECK((int)bytes <= kernel->most_bytes);
    if (!kernel->is_train) {
        CHECK(grid == (SUMS - 1) / SUM_COLUMNS + 1 && threads == 1024 && bytes == 0);
        CHECK(AN(int, 1) == units_before && holds(AN(void *, 2), SUMS) && AN(float, 3) > 0);
        ((RunSums *)kernel->run)(grid, threads, AN(float *, 0), AN(int, 1), AN(float *, 2),
                                 AN(float, 3));
        return 0;
    }
    int count = AN(int, 6), height = AN(int, 7), width = AN(int, 8);
    int strips = AN(int, 9), segments = AN(int, 10), rows = AN(int, 11);
    size_t pixels = (size_t)count * height * width;
    units_before = count * strips * segments;
    CHECK((int)threads == module->threads && (int)bytes == module->bytes);
    CHECK((int)grid == (units_before - 1) / module->units + 1);
    CHECK(strips == (width - 1) / STRIP + 1 && segments * rows >= height);
    CHECK(!AN(void *, 0) && holds(AN(void *, 1), pixels) && holds(AN(void *, 2), pixels));
    CHECK(holds(AN(void *, 3), (size_t)units_before * SUMS_STRIDE) && holds(AN(void *, 4), 2625));
    CHECK(!AN(void *, 5) || holds(AN(void *, 5), pixels));
    CHECK(!module->keeps || holds(AN(void *, 12), 32 * pixels));
    int traps = fedisableexcept(FE_ALL_EXCEPT); /* the host's, which a GPU does not spring */
    ((RunTrain *)kernel->run)(grid, threads, bytes, NULL, AN(float *, 1), AN(float *, 2),
                              AN(float *, 3), AN(float *, 4), AN(float *, 5), count, height, width,
                              strips, segments, rows,
                              module->keeps ? AN(float *, 12) : NULL);
    feclearexcept(FE_ALL_EXCEPT);
    feenableexcept(traps);
    return 0;
}

/* runtime: memory starts as NaN, because no code may rely on zeros */
API int cudaMalloc(void **p, size_t bytes) {
    CHECK(bytes > 0);
    *p = aligned_alloc(256, (bytes + 255) / 256 * 256);
    memset(*p, 0xff, bytes);
    return *p == NULL;
}
API int cudaFree(void *p) { free(p); return 0; }
API int cudaMemcpy(void *to, const void *from, size_t bytes, int kind) {
    CHECK(kind == 1 || kind == 2);
    memcpy(to, from, bytes);
    return 0;
}
API int cudaMallocHost(void **p, size_t bytes) { return cudaMalloc(p, bytes); }
API int cudaMemGetInfo(size_t *available, size_t *total) {
    *available = *total = 48 << 20;
    return 0;
}
API int cudaDeviceSynchronize(void) { return 0; }
API int cudaEventCreate(void **event) { return create(event, EVENT); }
API int cudaEventRecord(void *event, void *stream) { CHECK(is(event, EVENT) && !stream); return 0; }
API int cudaEventSynchronize(void *event) { CHECK(is(event, EVENT)); return 0; }
API int cudaEventElapsedTime(float *ms, void *start, void *stop) {
    CHECK(is(start, EVENT) && is(stop, EVENT) && start != stop);
    *ms = 20;
    return 0;
}
API const char *cudaGetErrorString(int status) { (void)status; return "imitated error"; }

/* cuBLAS, with every scalar behind a device pointer */
API int cublasCreate_v2(void **handle) { return create(handle, BLAS); }
API int cublasSetPointerMode_v2(void *h, int mode) {
    CHECK(is(h, BLAS) && mode == 1);
    ((Object *)h)->a[0] = mode;
    return 0;
}
API int cublasSetMathMode(void *h, int mode) { CHECK(is(h, BLAS) && mode == 0); return 0; }
API int cublasSgemv_v2(void *h, int trans, int m, int n, const float *alpha, const float *A,
                       int lda, const float *x, int incx, const float *beta, float *y, int incy) {
    CHECK(is(h, BLAS) && ((Object *)h)->a[0] == 1 && trans == 1);
    CHECK(m > 0 && n > 0 && lda >= m && incx == 1 && incy == 1);
    for (int column = 0; column < n; column++) {
        double sum = 0;
        for (int row = 0; row < m; row++) sum += A[(size_t)column * lda + row] * (double)x[row];
        y[column] = (float)(*alpha * sum + (*beta == 0 ? 0 : *beta * y[column]));
    }
    return 0;
}
API int cublasSdot_v2(void *h, int n, const float *x, int incx, const float *y, int incy,
                      float *result) {
    CHECK(is(h, BLAS) && ((Object *)h)->a[0] == 1 && n > 0 && incx == 1 && incy == 1);
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] * (double)y[i];
    *result = (float)sum;
    return 0;
}
API int cublasSscal_v2(void *h, int n, const float *alpha, float *x, int incx) {
    CHECK(is(h, BLAS) && ((Object *)h)->a[0] == 1 && n > 0 && incx == 1);
    for (int i = 0; i < n; i++) x[i] *= *alpha;
    return 0;
}
API int cublasSaxpy_v2(void *h, int n, const float *alpha, const float *x, int incx, float *y,
                       int incy) {
    CHECK(is(h, BLAS) && ((Object *)h)->a[0] == 1 && n > 0 && incx == 1 && incy == 1);
    for (int i = 0; i < n; i++) y[i] += *alpha * x[i];
    return 0;
}
API const char *cublasGetStatusString(int status) { (void)status; return "imitated error"; }

/* cuDNN descriptors */
API size_t cudnnGetVersion(void) { return 90000; }
API const char *cudnnGetErrorString(int status) { (void)status; return "imitated error"; }
API void cudnnGetLastErrorString(char *text, size_t size) { snprintf(text, size, "line"); }
API int cudnnCreate(void **p) { return create(p, DNN); }
API int cudnnCreateTensorDescriptor(void **p) { return create(p, TENSOR); }
API int cudnnCreateFilterDescriptor(void **p) { return create(p, FILTER); }
API int cudnnCreateConvolutionDescriptor(void **p) { return create(p, CONVOLUTION); }
API int cudnnCreateActivationDescriptor(void **p) { return create(p, ACTIVATION); }
API int cudnnSetTensor4dDescriptor(void *p, int format, int type, int n, int c, int h, int w) {
    CHECK(is(p, TENSOR) && format == 0 && type == 0 && n > 0 && c > 0 && h > 0 && w > 0);
    int a[4] = {n, c, h, w};
    memcpy(((Object *)p)->a, a, sizeof a);
    return 0;
}
API int cudnnSetFilter4dDescriptor(void *p, int type, int format, int k, int c, int h, int w) {
    CHECK(is(p, FILTER) && format == 0 && type == 0 && k > 0 && c > 0 && h == 3 && w == 3);
    int a[4] = {k, c, h, w};
    memcpy(((Object *)p)->a, a, sizeof a);
    return 0;
}
API int cudnnSetConvolution2dDescriptor(void *p, int pad_h, int pad_w, int stride_h, int stride_w,
                                        int dilation_h, int dilation_w, int mode, int type) {
    CHECK(is(p, CONVOLUTION) && pad_h == 1 && pad_w == 1 && stride_h == 1 && stride_w == 1);
    CHECK(dilation_h == 1 && dilation_w == 1 && mode == 1 && type == 0);
    ((Object *)p)->a[0] = 1;
    return 0;
}
API int cudnnSetConvolutionMathType(void *p, int type) {
    CHECK(is(p, CONVOLUTION) && type == 3);
    ((Object *)p)->a[1] = type;
    return 0;
}
API int cudnnSetActivationDescriptor(void *p, int mode, int nan, double coefficient) {
    CHECK(is(p, ACTIVATION) && mode == 1 && nan == 1);
    ((Object *)p)->coefficient = coefficient;
    return 0;
}

/* cuDNN arithmetic: sums in double, slow and simple */
static int fits(const Object *x, const Object *w, const Object *conv, const Object *y) {
    return is(x, TENSOR) && is(w, FILTER) && is(conv, CONVOLUTION) && is(y, TENSOR)
        && conv->a[0] == 1 && conv->a[1] == 3 && x->a[0] == y->a[0] && x->a[2] == y->a[2]
        && x->a[3] == y->a[3] && x->a[1] == w->a[1] && y->a[1] == w->a[0];
}
static float at(const float *t, const Object *d, int n, int c, int y, int x) {
    if (y < 0 || x < 0 || y >= d->a[2] || x >= d->a[3]) return 0;
    return t[(((size_t)n * d->a[1] + c) * d->a[2] + y) * d->a[3] + x];
}
static double product(float a, float b, int algorithm) {
    return algorithm == 2 ? a * b : (double)a * b;
}
#define EACH(i, count) for (int i = 0; i < (count); i++)
API int cudnnConvolutionForward(void *h, const float *alpha, Object *xd, const float *x, Object *wd,
                                const float *w, Object *conv, int algorithm, void *space,
                                size_t bytes, const float *beta, Object *yd, float *y) {
    CHECK(is(h, DNN) && fits(xd, wd, conv, yd) && space && bytes);
    CHECK(algorithm == 1 || algorithm == 2);
    EACH(n, xd->a[0]) EACH(k, wd->a[0]) EACH(i, xd->a[2]) EACH(j, xd->a[3]) {
        double sum = 0;
        EACH(c, wd->a[1]) EACH(r, 3) EACH(s, 3)
            sum += product(at(w, wd, k, c, r, s), at(x, xd, n, c, i + r - 1, j + s - 1), algorithm);
        float *out = &y[(((size_t)n * yd->a[1] + k) * yd->a[2] + i) * yd->a[3] + j];
        *out = (float)(*alpha * sum + (*beta == 0 ? 0 : *beta * *out));
    }
    return 0;
}
API int cudnnConvolutionBackwardData(void *h, const float *alpha, Object *wd, const float *w,
                                     Object *yd, const float *dy, Object *conv, int algorithm,
                                     void *space, size_t bytes, const float *beta, Object *xd,
                                     float *dx) {
    CHECK(is(h, DNN) && fits(xd, wd, conv, yd) && space && bytes);
    CHECK(algorithm == 1 || algorithm == 2);
    EACH(n, xd->a[0]) EACH(c, xd->a[1]) EACH(i, xd->a[2]) EACH(j, xd->a[3]) {
        double sum = 0;
        EACH(k, wd->a[0]) EACH(r, 3) EACH(s, 3)
            sum += product(at(w, wd, k, c, r, s), at(dy, yd, n, k, i - r + 1, j - s + 1), algorithm);
        float *out = &dx[(((size_t)n * xd->a[1] + c) * xd->a[2] + i) * xd->a[3] + j];
        *out = (float)(*alpha * sum + (*beta == 0 ? 0 : *beta * *out));
    }
    return 0;
}
API int cudnnConvolutionBackwardFilter(void *h, const float *alpha, Object *xd, const float *x,
                                       Object *yd, const float *dy, Object *conv, int algorithm,
                                       void *space, size_t bytes, const float *beta, Object *wd,
                                       float *dw) {
    CHECK(is(h, DNN) && fits(xd, wd, conv, yd) && space && bytes);
    CHECK(algorithm == 1 || algorithm == 2);
    EACH(k, wd->a[0]) EACH(c, wd->a[1]) EACH(r, 3) EACH(s, 3) {
        double sum = 0;
        EACH(n, xd->a[0]) EACH(i, xd->a[2]) EACH(j, xd->a[3])
            sum += product(at(dy, yd, n, k, i, j), at(x, xd, n, c, i + r - 1, j + s - 1), algorithm);
        float *out = &dw[((k * wd->a[1] + c) * 3 + r) * 3 + s];
        *out = (float)(*alpha * sum + (*beta == 0 ? 0 : *beta * *out));
    }
    return 0;
}
API int cudnnAddTensor(void *h, const float *alpha, Object *bd, const float *b, const float *beta,
                       Object *yd, float *y) {
    CHECK(is(h, DNN) && is(bd, TENSOR) && is(yd, TENSOR));
    CHECK(bd->a[0] == 1 && bd->a[1] == yd->a[1] && bd->a[2] == 1 && bd->a[3] == 1);
    size_t pixels = (size_t)yd->a[2] * yd->a[3];
    for (size_t i = 0; i < yd->a[0] * yd->a[1] * pixels; i++)
        y[i] = *alpha * b[i / pixels % yd->a[1]] + *beta * y[i];
    return 0;
}
API int cudnnActivationForward(void *h, Object *act, const float *alpha, Object *xd, const float *x,
                               const float *beta, Object *yd, float *y) {
    CHECK(is(h, DNN) && is(act, ACTIVATION) && is(xd, TENSOR) && is(yd, TENSOR) && same(xd, yd));
    CHECK(*alpha == 1 && *beta == 0);
    size_t count = (size_t)xd->a[0] * xd->a[1] * xd->a[2] * xd->a[3];
    for (size_t i = 0; i < count; i++) y[i] = x[i] < 0 ? 0 : x[i];
    return 0;
}
API int cudnnConvolutionBiasActivationForward(
    void *h, const float *alpha, Object *xd, const float *x, Object *wd, const float *w,
    Object *conv, int algorithm, void *space, size_t bytes, const float *alpha2, Object *zd,
    const float *z, Object *bd, const float *b, Object *act, Object *yd, float *y) {
    CHECK(*alpha == 1 && *alpha2 == 0 && is(zd, TENSOR) && same(zd, yd) && z);
    const float one = 1, zero = 0;
    int status = cudnnConvolutionForward(h, &one, xd, x, wd, w, conv, algorithm, space, bytes,
                                         &zero, yd, y);
    if (!status) status = cudnnAddTensor(h, &one, bd, b, &one, yd, y);
    return status ? status : cudnnActivationForward(h, act, &one, yd, y, &zero, yd, y);
}
API int cudnnActivationBackward(void *h, Object *act, const float *alpha, Object *yd,
                                const float *y, Object *dyd, const float *dy, Object *xd,
                                const float *x, const float *beta, Object *dxd, float *dx) {
    CHECK(is(h, DNN) && is(act, ACTIVATION) && *alpha == 1 && *beta == 0 && x == y);
    CHECK(same(yd, dyd) && same(yd, xd) && same(yd, dxd));
    size_t count = (size_t)xd->a[0] * xd->a[1] * xd->a[2] * xd->a[3];
    for (size_t i = 0; i < count; i++) dx[i] = y[i] > 0 ? dy[i] : 0;
    return 0;
}

/* The searches first offer a TF32 algorithm, one that needs too much memory and one that fails,
   then the right one: 1 or 2, which round differently; which is faster changes from search to
   search. Like the real ones, they overwrite the result. Estimates offer one that doesn't repeat
   before the right one. */
typedef struct { int algorithm, status; float ms; size_t memory; int sure, math, r[3]; } Candidate;
static int search(int asked, int *returned, Candidate *found, void *space, size_t bytes) {
    CHECK(asked >= 4 && returned && found && space && bytes && sizeof(Candidate) == 48);
    static int searches;
    Candidate all[4] = {{5, 0, 1, 0, 1, 2, {0}}, {6, 0, 2, bytes + 1, 1, 3, {0}},
                        {7, 9, -1, 0, 1, 3, {0}}, {1 + (searches++ % 7 == 0), 0, 3, 64, 1, 3, {0}}};
    memcpy(found, all, sizeof all);
    *returned = 4;
    return 0;
}
API int cudnnFindConvolutionForwardAlgorithmEx(void *h, Object *xd, const float *x, Object *wd,
                                               const float *w, Object *conv, Object *yd, float *y,
                                               int asked, int *returned, Candidate *found,
                                               void *space, size_t bytes) {
    CHECK(is(h, DNN) && fits(xd, wd, conv, yd) && x && w);
    memset(y, 0xff, 4);
    return search(asked, returned, found, space, bytes);
}
API int cudnnFindConvolutionBackwardDataAlgorithmEx(void *h, Object *wd, const float *w, Object *yd,
                                                    const float *dy, Object *conv, Object *xd,
                                                    float *dx, int asked, int *returned,
                                                    Candidate *found, void *space, size_t bytes) {
    CHECK(is(h, DNN) && fits(xd, wd, conv, yd) && w && dy);
    memset(dx, 0xff, 4);
    return search(asked, returned, found, space, bytes);
}
API int cudnnFindConvolutionBackwardFilterAlgorithmEx(void *h, Object *xd, const float *x,
                                                      Object *yd, const float *dy, Object *conv,
                                                      Object *wd, float *dw, int asked,
                                                      int *returned, Candidate *found, void *space,
                                                      size_t bytes) {
    CHECK(is(h, DNN) && fits(xd, wd, conv, yd) && x && dy);
    memset(dw, 0xff, 4);
    return search(asked, returned, found, space, bytes);
}
static int estimate(int asked, int *returned, Candidate *found) {
    CHECK(asked >= 4 && returned && found);
    Candidate all[4] = {{5, 0, 0, 0, 1, 2, {0}}, {7, 9, 0, 0, 1, 3, {0}},
                        {2, 0, 0, 0, 0, 3, {0}}, {1, 0, 0, 64, 1, 3, {0}}};
    memcpy(found, all, sizeof all);
    *returned = 4;
    return 0;
}
API int cudnnGetConvolutionForwardAlgorithm_v7(void *h, Object *xd, Object *wd, Object *conv,
                                               Object *yd, int asked, int *returned,
                                               Candidate *found) {
    CHECK(is(h, DNN) && fits(xd, wd, conv, yd));
    return estimate(asked, returned, found);
}
API int cudnnGetConvolutionBackwardDataAlgorithm_v7(void *h, Object *wd, Object *yd, Object *conv,
                                                    Object *xd, int asked, int *returned,
                                                    Candidate *found) {
    CHECK(is(h, DNN) && fits(xd, wd, conv, yd));
    return estimate(asked, returned, found);
}
API int cudnnGetConvolutionBackwardFilterAlgorithm_v7(void *h, Object *xd, Object *yd, Object *conv,
                                                      Object *wd, int asked, int *returned,
                                                      Candidate *found) {
    CHECK(is(h, DNN) && fits(xd, wd, conv, yd));
    return estimate(asked, returned, found);
}
