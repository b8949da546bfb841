/* The part of ONNX Runtime's C API that the classifier needs, reached through OrtGetApiBase() of the library that
 * the onnxruntime wheel carries. The API is a table of function pointers that is only ever appended to, so a slot's
 * number is part of its ABI; the numbers below are the order of declaration in onnxruntime_c_api.h (API version 14
 * and later). Declared here because the wheel ships no headers. */
#ifndef TURNOUT_ORT_API_H
#define TURNOUT_ORT_API_H
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

#define TURNOUT_ORT_API_VERSION 14

typedef void ort_object; /* OrtEnv, OrtSession, OrtValue ... : opaque */
typedef struct {
  const void *const *(*get_api)(uint32_t version);
  const char *(*version_string)(void);
} ort_base;

enum {
  ORT_GetErrorMessage = 2,
  ORT_CreateEnv = 3,
  ORT_CreateSessionFromArray = 8,
  ORT_Run = 9,
  ORT_CreateSessionOptions = 10,
  ORT_SetSessionGraphOptimizationLevel = 23,
  ORT_SetIntraOpNumThreads = 24,
  ORT_SetInterOpNumThreads = 25,
  ORT_CreateTensorWithDataAsOrtValue = 49,
  ORT_CreateCpuMemoryInfo = 69,
  ORT_ReleaseStatus = 93,
  ORT_ReleaseMemoryInfo = 94,
  ORT_ReleaseSession = 95,
  ORT_ReleaseValue = 96,
  ORT_ReleaseSessionOptions = 100,
};
enum { ORT_LOGGING_ERROR = 3, ORT_ENABLE_ALL = 99, ORT_FLOAT = 1, ORT_ARENA_ALLOCATOR = 1, ORT_MEM_DEFAULT = 0 };

typedef const void *const *ort_api;
typedef ort_object *ort_status; /* NULL: no error */

static inline ort_status ort_create_env(ort_api a, const char *id, ort_object **out) {
  return ((ort_status(*)(int, const char *, ort_object **))a[ORT_CreateEnv])(ORT_LOGGING_ERROR, id, out);
}
static inline ort_status ort_create_options(ort_api a, ort_object **out) {
  return ((ort_status(*)(ort_object **))a[ORT_CreateSessionOptions])(out);
}
static inline ort_status ort_set_optimisation(ort_api a, ort_object *options) {
  return ((ort_status(*)(ort_object *, int))a[ORT_SetSessionGraphOptimizationLevel])(options, ORT_ENABLE_ALL);
}
static inline ort_status ort_set_threads(ort_api a, ort_object *options) {
  ort_status s = ((ort_status(*)(ort_object *, int))a[ORT_SetIntraOpNumThreads])(options, 1);
  return s ? s : ((ort_status(*)(ort_object *, int))a[ORT_SetInterOpNumThreads])(options, 1);
}
static inline ort_status ort_create_session(ort_api a, ort_object *env, const void *model, size_t n,
                                            ort_object *options, ort_object **out) {
  return ((ort_status(*)(ort_object *, const void *, size_t, ort_object *, ort_object **))a[ORT_CreateSessionFromArray])(
      env, model, n, options, out);
}
static inline ort_status ort_create_memory_info(ort_api a, ort_object **out) {
  return ((ort_status(*)(int, int, ort_object **))a[ORT_CreateCpuMemoryInfo])(ORT_ARENA_ALLOCATOR, ORT_MEM_DEFAULT, out);
}
static inline ort_status ort_create_tensor(ort_api a, ort_object *info, float *data, int64_t rows, int64_t columns,
                                           ort_object **out) {
  const int64_t shape[2] = {rows, columns};
  return ((ort_status(*)(ort_object *, void *, size_t, const int64_t *, size_t, int, ort_object **))
              a[ORT_CreateTensorWithDataAsOrtValue])(info, data, (size_t)(rows * columns) * sizeof(float), shape, 2,
                                                     ORT_FLOAT, out);
}
static inline ort_status ort_run(ort_api a, ort_object *session, const char *input_name, const ort_object *input,
                                 const char *output_name, ort_object **output) {
  const char *const in[1] = {input_name};
  const char *const out[1] = {output_name};
  const ort_object *const values[1] = {input};
  return ((ort_status(*)(ort_object *, const ort_object *, const char *const *, const ort_object *const *, size_t,
                         const char *const *, size_t, ort_object **))a[ORT_Run])(session, NULL, in, values, 1, out, 1,
                                                                                output);
}
static inline const char *ort_error_message(ort_api a, ort_status s) {
  return ((const char *(*)(ort_status))a[ORT_GetErrorMessage])(s);
}
static inline void ort_release(ort_api a, int slot, ort_object *object) {
  if (object) ((void (*)(ort_object *))a[slot])(object);
}
#endif
