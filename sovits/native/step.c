/* One step of the text-to-semantic decoder in native code: p2pvoice.sovits._step.
 *
 * A step multiplies every weight with one vector, so it takes as long as reading the weights takes. Here they are
 * read as they are stored, as float16 or int8, and widened to float32 in registers; every sum is float32. With
 * float16 weights the result is that of float32 weights up to the order of sums.
 *
 * Not for training, for reading a prompt or for drawing codes, and not a public interface: it trusts the addresses
 * it is given. packed.py checks sizes and keeps every tensor alive. The arithmetic stands in step_kernel.h, compiled
 * once for AVX-512 and once for AVX2; which runs is decided when the module is loaded, and on another processor
 * `levels` is empty and packed.py does without. Follows specs/speed.md.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Types of stored numbers, as packed.py numbers them. */
enum { SINGLE = 0, HALF = 1, BYTE = 2 };

/* What a step reads besides its input; packed.py writes this as a row of 64-bit integers. */
typedef struct {
    const void *weight;  /* [rows, columns], row by row */
    const float *scale;  /* [rows] for BYTE, else NULL */
    const float *bias;   /* [rows] or NULL */
} matrix;

typedef struct {
    matrix qkv, out, up, down;
    const float *norm1_weight, *norm1_bias, *norm2_weight, *norm2_bias;
} layer;

typedef struct {
    int64_t layers, width, heads, feed_forward, vocabulary;
    int64_t weights;  /* type of every weight but the last matrix' */
    int64_t last;     /* type of the last matrix */
    int64_t cache;    /* type of keys and values: SINGLE or HALF */
    matrix predict;
    layer layer[];
} plan;

/* Keys and values lie as [layers, heads, capacity, width / heads]; `filled` positions are in use before the step. */
typedef struct {
    void *keys, *values;
    int64_t capacity, filled;
} cache;

#if defined(__x86_64__)
#include <immintrin.h>

/* How far ahead of the multiplication weights are asked for, in bytes: the best of 256 to 4096 as measured. */
#define AHEAD 4096

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#define NAME(name) name##_avx512
#define LANES 16
#define VECTOR __m512
#define ZERO() _mm512_setzero_ps()
#define SPREAD(number) _mm512_set1_ps(number)
#define LOAD(place) _mm512_loadu_ps(place)
#define STORE(place, v) _mm512_storeu_ps(place, v)
#define LOAD_HALF(place) _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(place)))
#define STORE_HALF(place, v) _mm256_storeu_si256((__m256i *)(place), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT))
#define LOAD_BYTE(place) _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(place))))
#define ADD(a, b) _mm512_add_ps(a, b)
#define SUB(a, b) _mm512_sub_ps(a, b)
#define MUL(a, b) _mm512_mul_ps(a, b)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define MAX(a, b) _mm512_max_ps(a, b)
#define ROUND(v) _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define TIMES_POWER_OF_TWO(v, n) _mm512_scalef_ps(v, n)
#define SUM(v) _mm512_reduce_add_ps(v)
#include "step_kernel.h"
#pragma GCC pop_options

#undef NAME
#undef LANES
#undef VECTOR
#undef ZERO
#undef SPREAD
#undef LOAD
#undef STORE
#undef LOAD_HALF
#undef STORE_HALF
#undef LOAD_BYTE
#undef ADD
#undef SUB
#undef MUL
#undef FMA
#undef MAX
#undef ROUND
#undef TIMES_POWER_OF_TWO
#undef SUM

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
static inline float sum_of_eight(__m256 v) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
#define NAME(name) name##_avx2
#define LANES 8
#define VECTOR __m256
#define ZERO() _mm256_setzero_ps()
#define SPREAD(number) _mm256_set1_ps(number)
#define LOAD(place) _mm256_loadu_ps(place)
#define STORE(place, v) _mm256_storeu_ps(place, v)
#define LOAD_HALF(place) _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(place)))
#define STORE_HALF(place, v) _mm_storeu_si128((__m128i *)(place), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT))
#define LOAD_BYTE(place) _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(place))))
#define ADD(a, b) _mm256_add_ps(a, b)
#define SUB(a, b) _mm256_sub_ps(a, b)
#define MUL(a, b) _mm256_mul_ps(a, b)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define MAX(a, b) _mm256_max_ps(a, b)
#define ROUND(v) _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define TIMES_POWER_OF_TWO(v, n) \
    _mm256_mul_ps(v, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23)))
#define SUM(v) sum_of_eight(v)
#include "step_kernel.h"
#pragma GCC pop_options

static int has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
static int has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
#endif

typedef void (*step_function)(const plan *, const cache *, float *, float *, float *);

/* The function of a level, or NULL where this processor or this build has no such level. */
static step_function of_level(const char *level) {
#if defined(__x86_64__)
    if (strcmp(level, "avx512") == 0 && has_avx512()) return step_avx512;
    if (strcmp(level, "avx2") == 0 && has_avx2()) return step_avx2;
#endif
    return NULL;
}

static PyObject *step(PyObject *self, PyObject *arguments) {
    Py_buffer given;
    const char *level;
    unsigned long long keys, values, x, logits;
    long long capacity, filled;
    if (!PyArg_ParseTuple(arguments, "sy*KKLLKK", &level, &given, &keys, &values, &capacity, &filled, &x, &logits)) return NULL;
    const plan *p = given.buf;
    step_function run = of_level(level);
    const char *wrong = NULL;
    if (run == NULL) wrong = "no such level here";
    else if (given.len < (Py_ssize_t)sizeof(plan) || given.len != (Py_ssize_t)(sizeof(plan) + p->layers * sizeof(layer))) wrong = "the plan has another length";
    else if (filled < 0 || filled >= capacity) wrong = "the cache is full: prefill was told of too little room";
    float *scratch = NULL;
    if (wrong == NULL) {
        scratch = malloc(sizeof(float) * (size_t)(5 * p->width + p->feed_forward + filled + 64));
        if (scratch == NULL) {
            PyBuffer_Release(&given);
            return PyErr_NoMemory();
        }
        cache c = {(void *)(uintptr_t)keys, (void *)(uintptr_t)values, capacity, filled};
        Py_BEGIN_ALLOW_THREADS
        run(p, &c, (float *)(uintptr_t)x, (float *)(uintptr_t)logits, scratch);
        Py_END_ALLOW_THREADS
        free(scratch);
    }
    PyBuffer_Release(&given);
    if (wrong != NULL) {
        PyErr_SetString(PyExc_ValueError, wrong);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"step", step, METH_VARARGS,
     "step(level, plan, keys, values, capacity, filled, x, logits): x [width] becomes garbage, logits [vocabulary]."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_step",
    .m_doc = "One native step of the text-to-semantic decoder.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__step(void) {
    PyObject *made = PyModule_Create(&module);
    if (made == NULL) return NULL;
    PyObject *levels = PyTuple_New(0);
    const char *known[] = {"avx512", "avx2"};
    for (int i = 0; i < 2 && levels != NULL; i++) {
        if (of_level(known[i]) == NULL) continue;
        PyObject *more = Py_BuildValue("(s)", known[i]);
        PyObject *longer = more == NULL ? NULL : PySequence_Concat(levels, more);
        Py_XDECREF(more);
        Py_DECREF(levels);
        levels = longer;
    }
    if (levels == NULL || PyModule_AddObject(made, "levels", levels) < 0) {
        Py_XDECREF(levels);
        Py_DECREF(made);
        return NULL;
    }
    return made;
}
