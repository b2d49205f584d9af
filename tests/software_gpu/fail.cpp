#include "fail.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>

std::string sgpu_format(const char * format, ...) {
    va_list args;
    va_start(args, format);

    char text[1024];
    vsnprintf(text, sizeof(text), format, args);

    va_end(args);

    return text;
}

void sgpu_fail(const std::string & message) {
    fprintf(stderr, "software GPU: %s\n", message.c_str());
    fflush(stderr);

    abort();
}
