# Builds the source's own generator of tiny random models, one for each architecture, against the unpatched libllama:
#
#     <build>/stock/lib/generate-archs --out DIR --seed N [--arch NAME]
#
# Included by vendor/stock.cmake.

set(generator ${PROJECT_BINARY_DIR}/generate-archs.cpp)
file(READ ${stock}/tests/test-llama-archs.cpp text)

function(change old new)
    string(REPLACE "${old}" "${new}" changed "${text}")
    if(changed STREQUAL text)
        message(FATAL_ERROR "tests/test-llama-archs.cpp of llama.cpp does not hold any more: ${old}")
    endif()
    set(text "${changed}" PARENT_SCOPE)
endfunction()

# four layers, so that some lie between others; one architecture has an array of two written out
change("uint32_t n_layer = 2;" "uint32_t n_layer = arch == LLM_ARCH_BAILINGMOE3 ? 2 : 4;")
# save every architecture: see common.h
change("!llama_model_saver_supports_arch(arch) || " "")
change("llama_model_save_to_file(model_and_ctx.first.get(), path.c_str())"
    "save_model(gguf_ctx.get(), model_and_ctx.first.get(), path)")

file(CONFIGURE OUTPUT ${generator} CONTENT "${text}" @ONLY) # written only if it has changed

add_executable(generate-archs ${generator})
# ${stock}/src because it includes "../src/llama-arch.h"
target_include_directories(generate-archs PRIVATE ${CMAKE_CURRENT_LIST_DIR} ${stock}/include ${stock}/src)
target_link_libraries(generate-archs PRIVATE llama-stock ggml)
target_compile_features(generate-archs PRIVATE cxx_std_17)
# it lies beside the unpatched library, which has the ggml libraries beside it too
set_target_properties(generate-archs PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${stock_lib} INSTALL_RPATH_USE_LINK_PATH OFF)
