/* Errors as kinds (format.md 2.7). */
#include <stdarg.h>

#include "internal.h"

bool fail_with(fail *e, tokread_kind kind, const char *rule, const char *format, ...) {
    va_list arguments;
    e->kind = kind;
    e->path[0] = 0;
    snprintf(e->rule, sizeof e->rule, "%s", rule);
    va_start(arguments, format);
    vsnprintf(e->message, sizeof e->message, format, arguments);
    va_end(arguments);
    return false;
}

bool fail_memory(fail *e) {
    return fail_with(e, TOKREAD_SYSTEM, "", "no memory");
}

void fail_path(fail *e, const char *path) {
    if (!e->path[0]) snprintf(e->path, sizeof e->path, "%s", path);
}

const char *tokread_kind_name(tokread_kind kind) {
    static const char *const names[] = {"ok",          "truncated", "checksum", "corrupt",
                                        "unsupported", "missing",   "argument", "system"};
    return (unsigned)kind < sizeof names / sizeof *names ? names[kind] : "unknown";
}
