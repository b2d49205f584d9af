#include "layerwise-backends.h"

#include "ggml-backend.h"

#include <filesystem>

#ifdef _WIN32
#    define WIN32_LEAN_AND_MEAN
#    ifndef NOMINMAX
#        define NOMINMAX
#    endif
#    include <windows.h>
#else
#    include <dlfcn.h>
#endif

// the file that this function was loaded from; empty if the system does not know
static std::filesystem::path library_file() {
#ifdef _WIN32
    const DWORD by_address = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;

    HMODULE module = nullptr;
    if (!GetModuleHandleExW(by_address, (LPCWSTR) &llama_layerwise_load_backends, &module)) {
        return {};
    }

    std::wstring path(32768, L'\0'); // the longest path that Windows has
    path.resize(GetModuleFileNameW(module, &path[0], (DWORD) path.size()));
    return path;
#else
    Dl_info info = {};
    if (dladdr((const void *) &llama_layerwise_load_backends, &info) == 0 || info.dli_fname == nullptr) {
        return {};
    }
    return info.dli_fname;
#endif
}

void llama_layerwise_load_backends() {
    const auto folder = library_file().parent_path();
    ggml_backend_load_all_from_path(folder.empty() ? nullptr : folder.u8string().c_str());
}
