# Builds the unpatched libllama and libggml-cpu from the same release, with the same options, into <build>/stock/lib,
# with the other libggml* beside them. Sound as long as patches/ touches only src/ and the one file of libggml-cpu that
# is compiled anew here (tests/test_build.py). Included before the engine is added to the target `llama`, whose
# properties are taken over.

set(stock ${PROJECT_BINARY_DIR}/llama.cpp-stock)
set(stock_lib ${PROJECT_BINARY_DIR}/stock/lib)
fetch_llama_cpp(${stock} --no-patch)

get_target_property(sources llama SOURCES)
list(TRANSFORM sources PREPEND ${patched}/src/ REGEX "^[^/]")
list(TRANSFORM sources REPLACE "^${patched}/" "${stock}/")
list(FILTER sources INCLUDE REGEX "\\.cpp$")
foreach(source IN LISTS sources)
    if(NOT EXISTS ${source})
        list(REMOVE_ITEM sources ${source}) # a patch adds it
    endif()
endforeach()

function(add_stock_library target)
    get_target_property(type ${target} TYPE)
    string(REPLACE "_LIBRARY" "" type ${type}) # a backend may be a MODULE
    add_library(${target}-stock ${type} ${ARGN})
    foreach(property INCLUDE_DIRECTORIES COMPILE_DEFINITIONS COMPILE_OPTIONS COMPILE_FEATURES LINK_LIBRARIES LINK_OPTIONS)
        get_target_property(value ${target} ${property})
        if(value)
            list(TRANSFORM value REPLACE "${patched}/" "${stock}/")
            set_property(TARGET ${target}-stock PROPERTY ${property} ${value})
        endif()
    endforeach()
    set_target_properties(${target}-stock PROPERTIES
        OUTPUT_NAME ${target}
        LIBRARY_OUTPUT_DIRECTORY ${stock_lib}
        RUNTIME_OUTPUT_DIRECTORY ${stock_lib}
        POSITION_INDEPENDENT_CODE ON)
endfunction()

add_stock_library(llama ${sources})
set_target_properties(llama-stock PROPERTIES
    UNITY_BUILD ON
    UNITY_BUILD_BATCH_SIZE 16)
set(core_sources ${sources})
list(FILTER core_sources EXCLUDE REGEX "/models/")
set_source_files_properties(${core_sources} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)

find_package(OpenMP QUIET) # which libggml-cpu links, and has found in its own folder only
foreach(target IN LISTS ggml_targets)
    if(target MATCHES "^ggml-cpu")
        set(rest "$<FILTER:$<TARGET_OBJECTS:${target}>,EXCLUDE,ggml-cpu/ops[.]cpp>")
        add_stock_library(${target} ${stock}/ggml/src/ggml-cpu/ops.cpp ${rest})
        add_dependencies(llama-stock ${target}-stock)
    else()
        add_custom_command(TARGET llama-stock POST_BUILD
            COMMAND ${CMAKE_COMMAND} -E copy_if_different $<TARGET_FILE:${target}> ${stock_lib})
    endif()
endforeach()

include(${PROJECT_SOURCE_DIR}/tests/archs/generator.cmake)
