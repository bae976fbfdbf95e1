/* The arithmetic of one step, written once for every vector width: see step.c, which includes this file with LANES,
 * VECTOR and the operations defined. All sizes are multiples of 16, and packed.py has checked that.
 */

/* A row of weights times a vector: four sums side by side, so that no addition waits for another. */
#define DOT(name, type, load)                                                                      \
    static inline float NAME(name)(const type *row, const float *x, int64_t n) {                   \
        VECTOR a = ZERO(), b = ZERO(), c = ZERO(), d = ZERO();                                     \
        int64_t i = 0;                                                                             \
        for (; i + 4 * LANES <= n; i += 4 * LANES) {                                               \
            for (size_t line = 0; line < 4 * LANES * sizeof(type); line += 64)                     \
                _mm_prefetch((const char *)(row + i) + AHEAD + line, _MM_HINT_T0);                 \
            a = FMA(load(row + i), LOAD(x + i), a);                                                \
            b = FMA(load(row + i + LANES), LOAD(x + i + LANES), b);                                \
            c = FMA(load(row + i + 2 * LANES), LOAD(x + i + 2 * LANES), c);                        \
            d = FMA(load(row + i + 3 * LANES), LOAD(x + i + 3 * LANES), d);                        \
        }                                                                                          \
        for (; i < n; i += LANES) a = FMA(load(row + i), LOAD(x + i), a);                          \
        return SUM(ADD(ADD(a, b), ADD(c, d)));                                                     \
    }
DOT(dot_single, float, LOAD)
DOT(dot_half, uint16_t, LOAD_HALF)
DOT(dot_byte, int8_t, LOAD_BYTE)
#undef DOT

/* y [rows] = weight [rows, columns] x + bias, negative values cut off if `positive`. */
static void NAME(multiply)(const matrix *m, int64_t type, const float *x, float *y, int64_t rows, int64_t columns, int positive) {
    for (int64_t r = 0; r < rows; r++) {
        float sum;
        if (type == HALF) sum = NAME(dot_half)((const uint16_t *)m->weight + r * columns, x, columns);
        else if (type == BYTE) sum = m->scale[r] * NAME(dot_byte)((const int8_t *)m->weight + r * columns, x, columns);
        else sum = NAME(dot_single)((const float *)m->weight + r * columns, x, columns);
        if (m->bias != NULL) sum += m->bias[r];
        y[r] = positive && sum < 0.0f ? 0.0f : sum;
    }
}

/* x = layer norm of x + more, over all n. */
static void NAME(normalise)(float *x, const float *more, const float *weight, const float *bias, int64_t n) {
    VECTOR sum = ZERO(), squares = ZERO();
    for (int64_t i = 0; i < n; i += LANES) {
        VECTOR v = ADD(LOAD(x + i), LOAD(more + i));
        STORE(x + i, v);
        sum = ADD(sum, v);
    }
    VECTOR mean = SPREAD(SUM(sum) / (float)n);
    for (int64_t i = 0; i < n; i += LANES) {
        VECTOR away = SUB(LOAD(x + i), mean);
        squares = FMA(away, away, squares);
    }
    VECTOR rate = SPREAD(1.0f / sqrtf(SUM(squares) / (float)n + 1e-5f));
    for (int64_t i = 0; i < n; i += LANES)
        STORE(x + i, FMA(MUL(SUB(LOAD(x + i), mean), rate), LOAD(weight + i), LOAD(bias + i)));
}

/* e^v for v <= 0, to about one unit in the last place: 2^n times a polynomial over half a power of two. */
static inline VECTOR NAME(exponential)(VECTOR v) {
    v = MAX(v, SPREAD(-87.0f));
    VECTOR n = ROUND(MUL(v, SPREAD(1.44269504f)));
    VECTOR r = FMA(n, SPREAD(-0.693359375f), v);
    r = FMA(n, SPREAD(2.12194440e-4f), r);
    VECTOR p = SPREAD(1.9875691500e-4f);
    p = FMA(p, r, SPREAD(1.3981999507e-3f));
    p = FMA(p, r, SPREAD(8.3334519073e-3f));
    p = FMA(p, r, SPREAD(4.1665795894e-2f));
    p = FMA(p, r, SPREAD(1.6666665459e-1f));
    p = FMA(p, r, SPREAD(5.0000001201e-1f));
    p = ADD(FMA(p, MUL(r, r), r), SPREAD(1.0f));
    return TIMES_POWER_OF_TWO(p, n);
}

/* scores [n] -> e^(score - largest), room for a multiple of LANES; the sum of all is returned. */
static float NAME(soften)(float *scores, int64_t n) {
    float largest = scores[0];
    for (int64_t t = 1; t < n; t++) largest = scores[t] > largest ? scores[t] : largest;
    for (int64_t t = n; t % LANES; t++) scores[t] = -INFINITY;
    VECTOR sum = ZERO(), top = SPREAD(largest);
    for (int64_t t = 0; t < n; t += LANES) {
        VECTOR e = NAME(exponential)(SUB(LOAD(scores + t), top));
        STORE(scores + t, e);
        sum = ADD(sum, e);
    }
    /* What fills the last vector became e^-87, which no sum of at least one feels. */
    return SUM(sum);
}

/* Attention of one query over n positions; y [width] of one head. */
#define ATTEND(name, type, load)                                                                                   \
    static void NAME(name)(const float *q, const type *keys, const type *values, int64_t n, int64_t width, float *scores, float *y) { \
        float rate = 1.0f / sqrtf((float)width);                                                                   \
        for (int64_t t = 0; t < n; t++) {                                                                          \
            VECTOR sum = ZERO();                                                                                   \
            for (int64_t i = 0; i < width; i += LANES) sum = FMA(load(keys + t * width + i), LOAD(q + i), sum);    \
            scores[t] = rate * SUM(sum);                                                                           \
        }                                                                                                          \
        float whole = 1.0f / NAME(soften)(scores, n);                                                              \
        for (int64_t i = 0; i < width; i += LANES) {                                                               \
            VECTOR a = ZERO(), b = ZERO(), c = ZERO(), d = ZERO();                                                 \
            int64_t t = 0;                                                                                         \
            for (; t + 4 <= n; t += 4) {                                                                           \
                a = FMA(SPREAD(scores[t]), load(values + t * width + i), a);                                       \
                b = FMA(SPREAD(scores[t + 1]), load(values + (t + 1) * width + i), b);                             \
                c = FMA(SPREAD(scores[t + 2]), load(values + (t + 2) * width + i), c);                             \
                d = FMA(SPREAD(scores[t + 3]), load(values + (t + 3) * width + i), d);                             \
            }                                                                                                      \
            for (; t < n; t++) a = FMA(SPREAD(scores[t]), load(values + t * width + i), a);                        \
            STORE(y + i, MUL(ADD(ADD(a, b), ADD(c, d)), SPREAD(whole)));                                           \
        }                                                                                                          \
    }
ATTEND(attend_single, float, LOAD)
ATTEND(attend_half, uint16_t, LOAD_HALF)
#undef ATTEND

/* x [width] in, logits [vocabulary] out; scratch holds 5 width + feed_forward + filled + 64 numbers. */
static void NAME(step)(const plan *p, const cache *c, float *x, float *logits, float *scratch) {
    int64_t width = p->width, narrow = width / p->heads, n = c->filled + 1;
    float *qkv = scratch, *attended = qkv + 3 * width, *more = attended + width, *wide = more + width;
    float *scores = wide + p->feed_forward;
    for (int64_t l = 0; l < p->layers; l++) {
        const layer *w = &p->layer[l];
        NAME(multiply)(&w->qkv, p->weights, x, qkv, 3 * width, width, 0);
        for (int64_t h = 0; h < p->heads; h++) {
            const float *q = qkv + h * narrow, *k = q + width, *v = k + width;
            int64_t start = (l * p->heads + h) * c->capacity * narrow, last = start + c->filled * narrow;
            if (p->cache == HALF) {
                uint16_t *keys = c->keys, *values = c->values;
                for (int64_t i = 0; i < narrow; i += LANES) {
                    STORE_HALF(keys + last + i, LOAD(k + i));
                    STORE_HALF(values + last + i, LOAD(v + i));
                }
                NAME(attend_half)(q, keys + start, values + start, n, narrow, scores, attended + h * narrow);
            } else {
                float *keys = c->keys, *values = c->values;
                for (int64_t i = 0; i < narrow; i += LANES) {
                    STORE(keys + last + i, LOAD(k + i));
                    STORE(values + last + i, LOAD(v + i));
                }
                NAME(attend_single)(q, keys + start, values + start, n, narrow, scores, attended + h * narrow);
            }
        }
        NAME(multiply)(&w->out, p->weights, attended, more, width, width, 0);
        NAME(normalise)(x, more, w->norm1_weight, w->norm1_bias, width);
        NAME(multiply)(&w->up, p->weights, x, wide, p->feed_forward, width, 1);
        NAME(multiply)(&w->down, p->weights, wide, more, width, p->feed_forward, 0);
        NAME(normalise)(x, more, w->norm2_weight, w->norm2_bias, width);
    }
    NAME(multiply)(&p->predict, p->last, x, logits, p->vocabulary, width, 0);
}
