/* The inner loop of Pillow's 8-bit resampling of RGB pictures, for processors that do many numbers at a time.

   A weight is a whole number, 1 << BITS for one. Each pass adds up px times weight, rounds, and clips to a
   byte; rows are resampled before columns, as in Pillow, so that every byte is the same. Sums are unsigned:
   whatever the weights, they wrap and never overflow.

   Both passes are one loop, `blend`: so many LANES side by side, of as many places as there are taps. It is
   written for compilers to make vector instructions of it. Down a column, the lanes are neighbours in a row.
   Along a row, they are the same px of ROWS rows, which are laid out so first. Only a window of rows is held:
   it stays in the processor's cache. */

#define PY_SSIZE_T_CLEAN
#ifndef Py_GIL_DISABLED
#define Py_LIMITED_API 0x030b0000
#endif
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define BITS 22
#define RGB 3
#define ROWS 16
#define LANES (RGB * ROWS)
#define AHEAD (4 * ROWS) /* rows beyond those looked at, so that the window is rarely moved */

/* One machine code for each kind of processor, chosen when the module is loaded. A clone compiles for its
   processor what is inlined in it, and nothing else. AVX-512 measured no faster. */
#if defined(__x86_64__) && defined(__GLIBC__) && (!defined(__clang__) || __clang_major__ >= 14)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("default", "avx2")))
#define INLINE static inline __attribute__((always_inline))
#else
#define FOR_EACH_PROCESSOR
#define INLINE static inline
#endif

typedef uint32_t Lane;

typedef struct {
    uint8_t *bytes;
    Py_ssize_t height, width, stride;
} Picture;

/* What the px of one axis are made of: row i of `numbers` is the first source px of output px i, never
   before that of i - 1, and the weights from there on. */
typedef struct {
    const int32_t *numbers;
    Py_ssize_t out, taps, first, end;
} Axis;

/* Rows [first, end) of the picture, resampled along x: bytes, each in a lane. They are made in `block`. */
typedef struct {
    Lane *lanes, *block;
    Py_ssize_t stride, first, end;
} Window;

INLINE void
blend(const Lane *from, Py_ssize_t step, const int32_t *weights, Py_ssize_t taps, Lane *to)
{
    Lane sum[LANES];
    for (int lane = 0; lane < LANES; lane++) {
        sum[lane] = (Lane)1 << (BITS - 1);
    }
    for (Py_ssize_t tap = 0; tap < taps; tap++, from += step) {
        const Lane weight = (Lane)weights[tap];
        for (int lane = 0; lane < LANES; lane++) {
            sum[lane] += from[lane] * weight;
        }
    }
    for (int lane = 0; lane < LANES; lane++) {
        const int32_t value = (int32_t)sum[lane] >> BITS;
        to[lane] = (Lane)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
}

/* The px of ROWS rows side by side; the last row of the picture again where there are no more. */
INLINE void
lay_out(const Picture *source, Py_ssize_t row, const Axis *x, Lane *block)
{
    for (int r = 0; r < ROWS; r++) {
        const Py_ssize_t y = row + r < source->height ? row + r : source->height - 1;
        const uint8_t *from = source->bytes + y * source->stride + RGB * x->first;
        Lane *to = block + RGB * r;
        for (Py_ssize_t i = x->first; i < x->end; i++, from += RGB, to += LANES) {
            for (int c = 0; c < RGB; c++) {
                to[c] = from[c];
            }
        }
    }
}

/* ROWS more rows at their new width. */
INLINE void
resample_rows(const Picture *source, const Axis *x, Window *window)
{
    Lane px[LANES];
    Lane *to = window->lanes + (window->end - window->first) * window->stride;
    lay_out(source, window->end, x, window->block);
    for (Py_ssize_t i = 0; i < x->out; i++, to += RGB) {
        const int32_t *numbers = x->numbers + i * (1 + x->taps);
        blend(window->block + (numbers[0] - x->first) * LANES, LANES, numbers + 1, x->taps, px);
        for (int r = 0; r < ROWS; r++) {
            for (int c = 0; c < RGB; c++) {
                to[r * window->stride + c] = px[RGB * r + c];
            }
        }
    }
    window->end += ROWS;
}

/* Rows from `first` on: those already made are kept, as many more made as there is room for. */
INLINE void
move_window(const Picture *source, const Axis *x, const Axis *y, Py_ssize_t first, Window *window)
{
    const Py_ssize_t kept = window->end > first ? window->end - first : 0;
    const Lane *from = window->lanes + (window->end - kept - window->first) * window->stride;
    memmove(window->lanes, from, (size_t)(kept * window->stride) * sizeof(Lane));
    window->first = first;
    window->end = first + kept;
    while (window->end < y->end && window->end - first <= y->taps + AHEAD - ROWS) {
        resample_rows(source, x, window);
    }
}

FOR_EACH_PROCESSOR static void
resample(const Picture *source, const Axis *x, const Axis *y, Window *window, const Picture *result)
{
    const Py_ssize_t length = RGB * result->width;
    Lane part[LANES];
    for (Py_ssize_t i = 0; i < y->out; i++) {
        const int32_t *numbers = y->numbers + i * (1 + y->taps);
        if (window->end < numbers[0] + y->taps) {
            move_window(source, x, y, numbers[0], window);
        }
        const Lane *from = window->lanes + (numbers[0] - window->first) * window->stride;
        uint8_t *to = result->bytes + i * result->stride;
        for (Py_ssize_t begin = 0; begin < length; begin += LANES) {
            const Py_ssize_t count = length - begin < LANES ? length - begin : LANES;
            blend(from + begin, window->stride, numbers + 1, y->taps, part);
            for (Py_ssize_t lane = 0; lane < count; lane++) {
                to[begin + lane] = (uint8_t)part[lane];
            }
        }
    }
}

static int
as_picture(const Py_buffer *view, Picture *picture)
{
    if (view->ndim != 3 || strcmp(view->format, "B") != 0 || view->shape[2] != 3 || view->strides[2] != 1 ||
        view->strides[1] != 3 || view->shape[0] < 1 || view->shape[1] < 1) {
        PyErr_SetString(PyExc_ValueError, "a picture is uint8 (h, w, 3) with contiguous rows, not empty");
        return -1;
    }
    *picture = (Picture){view->buf, view->shape[0], view->shape[1], view->strides[0]};
    return 0;
}

static int
as_axis(const Py_buffer *view, Py_ssize_t length, Py_ssize_t out, Axis *axis)
{
    const int whole = strcmp(view->format, "i") == 0 || strcmp(view->format, "l") == 0;
    if (view->ndim != 2 || !whole || view->itemsize != 4 || view->shape[0] != out || view->shape[1] < 2) {
        PyErr_SetString(PyExc_ValueError, "taps are int32 (out, 1 + n), one row for each px of the result");
        return -1;
    }
    *axis = (Axis){view->buf, out, view->shape[1] - 1, 0, 0};
    axis->first = axis->numbers[0];
    Py_ssize_t first = 0;
    for (Py_ssize_t i = 0; i < out; i++) {
        const Py_ssize_t next = axis->numbers[i * view->shape[1]];
        if (next < first || next > length - axis->taps) {
            PyErr_SetString(PyExc_ValueError, "taps go backwards, or reach outside of the picture");
            return -1;
        }
        first = next;
    }
    axis->end = first + axis->taps;
    return 0;
}

static int
allocate_and_resample(const Picture *source, const Axis *x, const Axis *y, const Picture *result)
{
    const Py_ssize_t most = PY_SSIZE_T_MAX / 2 / (Py_ssize_t)sizeof(Lane);
    const Py_ssize_t columns = x->end - x->first, rows = y->taps + AHEAD;
    const Py_ssize_t stride = (RGB * x->out + LANES - 1) / LANES * LANES;
    Lane *lanes = NULL;
    if (rows <= most / stride && columns <= most / LANES) {
        lanes = PyMem_Calloc((size_t)(rows * stride + columns * LANES), sizeof(Lane));
    }
    if (lanes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    Window window = {lanes, lanes + rows * stride, stride, y->first, y->first};
    Py_BEGIN_ALLOW_THREADS
    resample(source, x, y, &window, result);
    Py_END_ALLOW_THREADS
    PyMem_Free(lanes);
    return 0;
}

static PyObject *
resample_into(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    const int table = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT;
    const int flags[4] = {PyBUF_RECORDS_RO, table, table, PyBUF_RECORDS};
    PyObject *objects[4];
    Py_buffer views[4];
    int held = 0, done = 0;
    if (!PyArg_ParseTuple(arguments, "OOOO:resample", &objects[0], &objects[1], &objects[2], &objects[3])) {
        return NULL;
    }
    for (; held < 4; held++) {
        if (PyObject_GetBuffer(objects[held], &views[held], flags[held]) < 0) {
            break;
        }
    }
    Picture source, result;
    Axis x, y;
    if (held == 4 && as_picture(&views[0], &source) == 0 && as_picture(&views[3], &result) == 0 &&
        as_axis(&views[1], source.width, result.width, &x) == 0 &&
        as_axis(&views[2], source.height, result.height, &y) == 0) {
        done = allocate_and_resample(&source, &x, &y, &result) == 0;
    }
    while (held > 0) {
        PyBuffer_Release(&views[--held]);
    }
    return done ? Py_NewRef(Py_None) : NULL;
}

static PyMethodDef functions[] = {
    {"resample", resample_into, METH_VARARGS,
     "resample(source, x, y, result): uint8 (h, w, 3) into uint8 (H, W, 3), by the taps of both axes."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_cubic",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__cubic(void)
{
    return PyModuleDef_Init(&definition);
}
