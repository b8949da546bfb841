"""A request from Python objects: checked, and laid out as the C struct that the engine reads."""

from collections.abc import Mapping

from libc.math cimport NAN
from libc.stddef cimport size_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_Check

from turnout_fastpath.core cimport *

from turnout_fastpath.errors import Reason, RouteError


cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object, Py_ssize_t*) except NULL


ROLES = {"user": ROLE_USER, "assistant": ROLE_ASSISTANT, "system": ROLE_SYSTEM, "developer": ROLE_DEVELOPER,
         "tool": ROLE_TOOL}
NEEDS = {"json": NEED_JSON, "json_schema": NEED_JSON_SCHEMA, "tools": NEED_TOOLS, "image": NEED_IMAGE,
         "audio": NEED_AUDIO, "file": NEED_FILE}
ANSWER_USES = ("unspecified", "person", "program", "prompt", "action")
MAX_OUTPUT_TOKENS = 1_000_000
MAX_CONTEXT_TOKENS = 100_000_000
MAX_TOOLS = 512


cdef object invalid(str field, object value, object limit):
    return RouteError(Reason.INVALID_FIELD, field, value=value, limit=limit)


cdef class Request:
    def __cinit__(self, prompt=None, *, messages=None, str policy="", needs=(), long long n_tools=0,
                  long long tool_schema_bytes=0, long long media_bytes=0, long long expected_output_tokens=0,
                  long long context_tokens=0, answer_use=0, str tenant="", str user_tier="", str feature="",
                  str session_id="", labels=None, str min_tier="", str max_tier="", allowed_deployments=(),
                  allowed_regions=(), max_cost_usd=None, quality_bar=None, bint explain=False, bint rules_only=False,
                  str decision_id=""):
        self.kept = []
        self.messages = self.inline_messages
        self.explain = explain
        self.c.rules_only = rules_only
        self.c.media_bytes = max(0, media_bytes)
        self.c.max_cost_usd = NAN
        self.c.quality_bar = NAN
        self.fill_messages(prompt, messages)
        if policy:
            self.c.policy = self.name(policy, "policy")
        if tenant:
            self.c.tenant = self.name(tenant, "caller.tenant")
        if user_tier:
            self.c.user_tier = self.name(user_tier, "caller.user_tier")
        if feature:
            self.c.feature = self.name(feature, "caller.feature")
        if session_id:
            self.c.session_id = self.name(session_id, "caller.session_id")
        if min_tier:
            self.c.min_tier = self.name(min_tier, "constraints.min_tier")
        if max_tier:
            self.c.max_tier = self.name(max_tier, "constraints.max_tier")
        if labels:
            self.fill_labels(labels)
        if allowed_deployments:
            self.c.allowed_deployments = self.names(allowed_deployments, "constraints.allowed_deployments",
                                                    MAX_DEPLOYMENTS, &self.c.n_allowed_deployments)
        if allowed_regions:
            self.c.allowed_regions = self.names(allowed_regions, "constraints.allowed_regions", MAX_REGIONS,
                                                &self.c.n_allowed_regions)
        if max_cost_usd is not None:
            if not 0 < max_cost_usd < float("inf"):
                raise invalid("constraints.max_cost_usd", max_cost_usd, "more than 0 US dollars")
            self.c.max_cost_usd = max_cost_usd
        if quality_bar is not None:
            if not 0 <= quality_bar <= 1:
                raise invalid("constraints.quality_bar", quality_bar, "0 to 1")
            self.c.quality_bar = quality_bar
        for need in needs:
            if need not in NEEDS:
                raise invalid("requirements.needs", need, ", ".join(NEEDS))
            self.c.needs |= <uint32_t> NEEDS[need]
        if not 0 <= n_tools <= MAX_TOOLS:
            raise invalid("requirements.tools", n_tools, f"{MAX_TOOLS} tools")
        self.c.n_tools = <uint32_t> n_tools
        self.c.tool_schema_bytes = max(0, tool_schema_bytes)
        if n_tools:
            self.c.needs |= NEED_TOOLS
        if not 0 <= expected_output_tokens <= MAX_OUTPUT_TOKENS:
            raise invalid("requirements.expected_output_tokens", expected_output_tokens, f"0 to {MAX_OUTPUT_TOKENS}")
        self.c.expected_output_tokens = <uint32_t> expected_output_tokens
        if not 0 <= context_tokens <= MAX_CONTEXT_TOKENS:
            raise invalid("requirements.context_tokens", context_tokens, f"0 to {MAX_CONTEXT_TOKENS}")
        self.c.context_tokens = <uint32_t> context_tokens
        if answer_use:
            self.c.answer_use = self.answer_use_number(answer_use)
        if decision_id:
            self.fill_decision_id(decision_id)

    def __dealloc__(self):
        if self.messages != self.inline_messages:
            free(self.messages)

    @property
    def text_bytes(self):
        cdef int i
        cdef size_t total = 0
        for i in range(self.c.n_messages):
            total += self.c.messages[i].text.size
        return total

    cdef slice_t slice_of(self, object text, str field):
        """The text's UTF-8 bytes. Lone surrogates become invalid bytes, which the kernels read as U+FFFD."""
        cdef slice_t slice
        cdef Py_ssize_t size
        cdef bytes encoded
        if PyUnicode_Check(text):
            try:
                slice.data = PyUnicode_AsUTF8AndSize(text, &size)
                slice.size = size
                self.kept.append(text)
                return slice
            except UnicodeEncodeError:
                encoded = text.encode("utf-8", "surrogatepass")
        elif isinstance(text, bytes):
            encoded = bytes(text)
        else:
            raise invalid(field, type(text).__name__, "str or bytes")
        self.kept.append(encoded)
        slice.data = PyBytes_AS_STRING(encoded)
        slice.size = PyBytes_GET_SIZE(encoded)
        return slice

    cdef slice_t name(self, str text, str field):
        cdef slice_t slice = self.slice_of(text, field)
        if slice.size > MAX_NAME_BYTES:
            raise invalid(field, f"{slice.size} bytes", f"{MAX_NAME_BYTES} bytes")
        return slice

    cdef const slice_t* names(self, object values, str field, int limit, int32_t* n) except? NULL:
        cdef list given = list(values)
        cdef int i
        if len(given) > limit:
            raise invalid(field, f"{len(given)} names", f"{limit} names")
        n[0] = <int32_t> len(given)
        cdef bytearray memory = bytearray(len(given) * sizeof(slice_t))
        cdef slice_t* slices = <slice_t*> PyByteArray_AS_STRING(memory)
        self.kept.append(memory)
        for i in range(n[0]):
            slices[i] = self.slice_of(given[i], field)
        return slices

    def fill_labels(self, labels):
        cdef int i = 0
        # In the order of their keys, so that the digest does not depend on a map's order.
        keys = sorted(labels)
        if len(keys) > MAX_LABELS:
            raise invalid("caller.labels", f"{len(keys)} labels", f"{MAX_LABELS} labels")
        for key in keys:
            self.c.labels[i].key = self.name(key, "caller.labels")
            self.c.labels[i].value = self.name(labels[key], "caller.labels")
            i += 1
        self.c.n_labels = i

    def answer_use_number(self, answer_use):
        if isinstance(answer_use, int):
            if 0 <= answer_use < len(ANSWER_USES):
                return answer_use
            # A value from a newer contract reads as not said.
            return 0
        if answer_use not in ANSWER_USES:
            raise invalid("requirements.answer_use", answer_use, ", ".join(ANSWER_USES))
        return ANSWER_USES.index(answer_use)

    def fill_decision_id(self, str decision_id):
        cdef const char* raw
        try:
            given = bytes.fromhex(decision_id)
        except ValueError:
            given = b""
        if len(given) != 16 or decision_id != given.hex():
            raise invalid("decision_id", decision_id, "32 lower-case hexadecimal digits")
        raw = given
        memcpy(self.c.decision_id, raw, 16)
        self.c.has_decision_id = 1

    cdef int fill_messages(self, object prompt, object messages) except -1:
        cdef Py_ssize_t n, i
        cdef size_t total = 0
        cdef message_t* message
        cdef object role, text
        self.c.messages = self.messages
        if prompt is not None:
            if messages is not None:
                raise RouteError(Reason.PROMPT_REQUIRED, "prompt")
            if not isinstance(prompt, (str, bytes)):
                raise invalid("prompt", type(prompt).__name__, "str or bytes")
            self.messages[0].role = ROLE_USER
            self.messages[0].text = self.slice_of(prompt, "prompt")
            self.c.n_messages = 1
            if self.messages[0].text.size > MAX_TEXT_BYTES:
                raise invalid("prompt", f"{self.messages[0].text.size} bytes", f"{MAX_TEXT_BYTES} bytes")
            return 0
        if messages is None:
            raise RouteError(Reason.PROMPT_REQUIRED, "prompt")
        cdef list given = list(messages)
        n = len(given)
        if n == 0:
            raise RouteError(Reason.PROMPT_REQUIRED, "messages")
        if n > MAX_MESSAGES:
            raise invalid("messages", f"{n} messages", f"{MAX_MESSAGES} messages")
        if n > INLINE_MESSAGES:
            self.messages = <message_t*> malloc(n * sizeof(message_t))
            if self.messages == NULL:
                self.messages = self.inline_messages
                raise MemoryError()
            self.c.messages = self.messages
        for i in range(n):
            item = given[i]
            message = &self.messages[i]
            if isinstance(item, tuple) and len(item) == 2:
                role, text = item
                if not isinstance(text, (str, bytes)):
                    raise invalid(f"messages[{i}].content", type(text).__name__, "str or bytes")
            elif isinstance(item, (dict, Mapping)):
                role = item.get("role", "user")
                text = self.content_text(item.get("content"), i)
            else:
                raise invalid(f"messages[{i}]", type(item).__name__, "a pair of role and text, or a mapping")
            if isinstance(role, int):
                # A role from a newer contract reads as a user's turn.
                message.role = role if ROLE_UNSPECIFIED <= role <= ROLE_TOOL else ROLE_UNSPECIFIED
            elif isinstance(role, str) and role in ROLES:
                message.role = ROLES[role]
            else:
                raise invalid(f"messages[{i}].role", role, ", ".join(ROLES))
            message.text = self.slice_of(text, "messages")
            total += message.text.size
        self.c.n_messages = <int32_t> n
        if total > MAX_TEXT_BYTES:
            raise invalid("messages", f"{total} bytes of text", f"{MAX_TEXT_BYTES} bytes")
        return 0

    def content_text(self, content, Py_ssize_t i):
        """Text of a message's content in the form of the chat completions API; other parts become needs."""
        if content is None:
            return ""
        if isinstance(content, (str, bytes)):
            return content
        if not isinstance(content, (list, tuple)):
            raise invalid(f"messages[{i}].content", type(content).__name__, "str or a list of parts")
        texts = []
        for j, part in enumerate(content):
            kind = part.get("type") if isinstance(part, dict) else None
            if kind in ("text", "input_text"):
                if not isinstance(part.get("text"), str):
                    raise invalid(f"messages[{i}].content[{j}].text", type(part.get("text")).__name__, "str")
                texts.append(part["text"])
            elif kind in ("image_url", "image", "input_image"):
                self.c.needs |= NEED_IMAGE
            elif kind in ("input_audio", "audio"):
                self.c.needs |= NEED_AUDIO
            elif kind in ("file", "input_file", "document"):
                self.c.needs |= NEED_FILE
            else:
                raise invalid(f"messages[{i}].content[{j}].type", kind, "text, image_url, input_audio or file")
        return "\n".join(texts)
