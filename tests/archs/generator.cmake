# Builds the source's own generator of tiny random models, one for each architecture, against the unpatched libllama:
#
#     <build>/stock/lib/generate-archs --out DIR --seed N [--arch NAME]
#
# Its models get four layers instead of two, so that some lie between others; one architecture has an array of two
# written out. Included by vendor/stock.cmake.

set(generator ${PROJECT_BINARY_DIR}/generate-archs.cpp)
file(READ ${stock}/tests/test-llama-archs.cpp text)
string(REPLACE "uint32_t n_layer = 2;" "uint32_t n_layer = arch == LLM_ARCH_BAILINGMOE3 ? 2 : 4;" deeper "${text}")
if(deeper STREQUAL text)
    message(FATAL_ERROR "tests/test-llama-archs.cpp of llama.cpp does not say any more how many layers it makes")
endif()
file(CONFIGURE OUTPUT ${generator} CONTENT "${deeper}" @ONLY) # written only if it has changed

add_executable(generate-archs ${generator})
# ${stock}/src because it includes "../src/llama-arch.h"
target_include_directories(generate-archs PRIVATE ${CMAKE_CURRENT_LIST_DIR} ${stock}/include ${stock}/src)
target_link_libraries(generate-archs PRIVATE llama-stock ggml)
target_compile_features(generate-archs PRIVATE cxx_std_17)
set_target_properties(generate-archs PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${stock_lib})
