#pragma once

#include <string>

[[gnu::format(printf, 1, 2)]] std::string sgpu_format(const char * format, ...);

// Ends the process with abort(): what went wrong would be undefined behaviour on a device.
[[noreturn]] void sgpu_fail(const std::string & message);
