"""The ONNX model, by our own kernel where it is the trainer's net, else by ONNX Runtime's C API; never with the GIL."""

import glob
import importlib.util
import os

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from turnout_fastpath.net cimport NET_MAX_SCORES, Net, net_run
from turnout_fastpath.net_tail cimport NetTail, tail_run

from turnout_fastpath.net import net_fits
from turnout_fastpath.net_tail import tails_fit
from turnout_fastpath.onnx_graph import find_net


cdef extern from "ort_api.h" nogil:
    ctypedef struct ort_base:
        ort_api (*get_api)(uint32_t version)
        const char* (*version_string)()
    int TURNOUT_ORT_API_VERSION
    int ORT_ReleaseStatus, ORT_ReleaseMemoryInfo, ORT_ReleaseSession, ORT_ReleaseValue, ORT_ReleaseSessionOptions
    ort_status ort_create_env(ort_api, const char*, ort_object**)
    ort_status ort_create_options(ort_api, ort_object**)
    ort_status ort_set_optimisation(ort_api, ort_object*)
    ort_status ort_set_threads(ort_api, ort_object*)
    ort_status ort_create_session(ort_api, ort_object*, const void*, size_t, ort_object*, ort_object**)
    ort_status ort_create_memory_info(ort_api, ort_object**)
    ort_status ort_create_tensor(ort_api, ort_object*, float*, int64_t, int64_t, ort_object**)
    ort_status ort_run(ort_api, ort_object*, const char*, const ort_object*, const char*, ort_object**)
    const char* ort_error_message(ort_api, ort_status)
    void ort_release(ort_api, int, ort_object*)


cdef extern from "dlfcn.h" nogil:
    void* dlopen(const char*, int)
    void* dlsym(void*, const char*)
    const char* dlerror()
    int RTLD_NOW, RTLD_LOCAL


class ClassifierError(RuntimeError):
    pass


# ONNX Runtime keeps one environment a process; it is made at the first session and lives as long as the process.
cdef ort_api process_api = NULL
cdef ort_object* process_environment = NULL


cdef str library_path():
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or not spec.submodule_search_locations:
        raise ClassifierError("the package onnxruntime is not installed; the extra turnout[engine] brings it")
    pattern = os.path.join(spec.submodule_search_locations[0], "capi", "libonnxruntime.so*")
    found = sorted(glob.glob(pattern))
    if not found:
        raise ClassifierError(f"no ONNX Runtime library at {pattern}")
    return found[0]


cdef int check(ort_api api, ort_status status, str doing) except -1:
    if status == NULL:
        return 0
    message = ort_error_message(api, status).decode("utf-8", "replace")
    ort_release(api, ORT_ReleaseStatus, status)
    raise ClassifierError(f"{doing}: {message}")


cdef int open_runtime() except -1:
    global process_api, process_environment
    if process_environment != NULL:
        return 0
    path = library_path()
    cdef bytes encoded = os.fsencode(path)
    cdef void* handle = dlopen(encoded, RTLD_NOW | RTLD_LOCAL)
    if handle == NULL:
        raise ClassifierError(f"{path}: {dlerror().decode('utf-8', 'replace')}")
    cdef const ort_base* (*get_base)() noexcept nogil
    get_base = <const ort_base* (*)() noexcept nogil> dlsym(handle, b"OrtGetApiBase")
    if get_base == NULL:
        raise ClassifierError(f"{path} has no OrtGetApiBase")
    cdef ort_api api = get_base().get_api(TURNOUT_ORT_API_VERSION)
    if api == NULL:
        version = get_base().version_string().decode()
        raise ClassifierError(f"{path} is version {version}; its C API {TURNOUT_ORT_API_VERSION} is needed")
    check(api, ort_create_env(api, b"turnout", &process_environment), "starting ONNX Runtime")
    process_api = api
    return 0


cdef void run_tails(const classifier_t* classifier, const classifier_io_t* io) noexcept nogil:
    # What lies below may be wider than the output.
    cdef float[NET_MAX_SCORES] scores
    cdef int i
    net_run(classifier.net, io.inputs, scores)
    for i in range(classifier.n_tails):
        tail_run(&classifier.tails[i], io.inputs, scores)
    memcpy(io.outputs, scores, classifier.n_outputs * sizeof(float))


cdef int classifier_run(const classifier_t* classifier, classifier_io_t* io) noexcept nogil:
    cdef ort_status status
    if classifier.net != NULL:
        if classifier.n_tails:
            run_tails(classifier, io)
        else:
            net_run(classifier.net, io.inputs, io.outputs)
        return 0
    status = ort_run(
        classifier.api, classifier.session, classifier.input_name, io.input_value,
        classifier.output_name, &io.output_value)
    if status == NULL:
        return 0
    ort_release(classifier.api, ORT_ReleaseStatus, status)
    return -1


cdef class Classifier:
    def __cinit__(self, bytes model not None, int n_inputs, int n_outputs, *,
                  str input_name="x", str output_name="scores", bint compiled=True):
        self.model = model
        self.input_name = input_name.encode()
        self.output_name = output_name.encode()
        self.c.input_name = PyBytes_AS_STRING(self.input_name)
        self.c.output_name = PyBytes_AS_STRING(self.output_name)
        self.c.n_inputs = n_inputs
        self.c.n_outputs = n_outputs
        graph = find_net(model, input_name, output_name) if compiled else None
        self.tails = []
        if (graph is not None and graph.inner.shape[0] == n_inputs and graph.n_outputs == n_outputs
                and net_fits(graph) and tails_fit(graph)):
            self.net = Net(graph)
            self.c.net = &self.net.c
            for part in graph.tails:
                tail = NetTail(part)
                self.tails.append(tail)
                self.c.tails[self.c.n_tails] = (<NetTail> tail).c
                self.c.n_tails += 1
        else:
            self.open_session()
            # A model of another shape than the manifest's shows here, not in a decision.
            self.run_rows(None, 1)

    cdef int open_session(self) except -1:
        open_runtime()
        self.c.api = process_api
        cdef bytes model = self.model
        cdef ort_object* options = NULL
        check(process_api, ort_create_options(process_api, &options), "session options")
        try:
            check(process_api, ort_set_optimisation(process_api, options), "session options")
            check(process_api, ort_set_threads(process_api, options), "session options")
            check(process_api, ort_create_session(
                process_api, process_environment, PyBytes_AS_STRING(model), PyBytes_GET_SIZE(model), options,
                &self.c.session), "loading the classifier")
        finally:
            ort_release(process_api, ORT_ReleaseSessionOptions, options)
        check(process_api, ort_create_memory_info(process_api, &self.memory_info), "memory info")
        return 0

    def __dealloc__(self):
        if self.c.api != NULL:
            ort_release(self.c.api, ORT_ReleaseMemoryInfo, self.memory_info)
            ort_release(self.c.api, ORT_ReleaseSession, self.c.session)

    @property
    def is_compiled(self):
        return self.c.net != NULL

    @property
    def n_inputs(self):
        return self.c.n_inputs

    @property
    def n_outputs(self):
        return self.c.n_outputs

    cdef int open_io(self, classifier_io_t* io, int64_t rows) except -1:
        io.inputs = <float*> calloc(rows * self.c.n_inputs, sizeof(float))
        io.outputs = <float*> calloc(rows * self.c.n_outputs, sizeof(float))
        if io.inputs == NULL or io.outputs == NULL:
            self.close_io(io)
            raise MemoryError()
        if self.c.net != NULL:
            return 0
        try:
            check(self.c.api, ort_create_tensor(
                self.c.api, self.memory_info, io.inputs, rows, self.c.n_inputs, &io.input_value), "input tensor")
            check(self.c.api, ort_create_tensor(
                self.c.api, self.memory_info, io.outputs, rows, self.c.n_outputs, &io.output_value), "output tensor")
        except ClassifierError:
            self.close_io(io)
            raise
        return 0

    cdef void close_io(self, classifier_io_t* io) noexcept:
        if self.c.api != NULL:
            ort_release(self.c.api, ORT_ReleaseValue, io.input_value)
            ort_release(self.c.api, ORT_ReleaseValue, io.output_value)
        free(io.inputs)
        free(io.outputs)
        io.input_value = io.output_value = NULL
        io.inputs = io.outputs = NULL

    def score(self, rows):
        import numpy

        table = numpy.ascontiguousarray(rows, dtype=numpy.float32)
        if table.ndim != 2 or table.shape[1] != self.c.n_inputs:
            raise ValueError(f"rows have shape {table.shape}, needed: (n, {self.c.n_inputs})")
        if self.net is not None:
            scores = self.net.run(table)
            for tail in self.tails:
                scores = tail.run(table, scores)
            return scores
        return self.run_rows(table, table.shape[0])

    def run_rows(self, table, Py_ssize_t rows):
        import numpy

        cdef classifier_io_t io
        io.inputs = io.outputs = NULL
        io.input_value = io.output_value = NULL
        result = numpy.empty((rows, self.c.n_outputs), numpy.float32)
        if rows == 0:
            return result
        cdef float[:, ::1] results = result
        cdef const float[:, ::1] given
        cdef Py_ssize_t i, size = rows * self.c.n_inputs
        self.open_io(&io, rows)
        cdef ort_status status
        try:
            if table is not None:
                given = table
                for i in range(size):
                    io.inputs[i] = (&given[0, 0])[i]
            with nogil:
                status = ort_run(self.c.api, self.c.session, self.c.input_name, io.input_value,
                                 self.c.output_name, &io.output_value)
            check(self.c.api, status, f"running the classifier on {rows} x {self.c.n_inputs}")
            for i in range(rows * self.c.n_outputs):
                (&results[0, 0])[i] = io.outputs[i]
        finally:
            self.close_io(&io)
        return result
