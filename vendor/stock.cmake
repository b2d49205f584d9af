# Builds the unpatched libllama from the same release, with the same options and against the same libggml*, into
# <build>/stock/lib, with those beside it. Sound as long as patches/ touches only src/ (tests/test_build.py).
# Included before the engine is added to the target `llama`, whose properties are taken over here.

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

add_library(llama-stock SHARED ${sources})
foreach(property INCLUDE_DIRECTORIES COMPILE_DEFINITIONS COMPILE_OPTIONS COMPILE_FEATURES LINK_LIBRARIES)
    get_target_property(value llama ${property})
    if(value)
        list(TRANSFORM value REPLACE "${patched}/" "${stock}/")
        set_property(TARGET llama-stock PROPERTY ${property} ${value})
    endif()
endforeach()
set_target_properties(llama-stock PROPERTIES
    OUTPUT_NAME llama
    LIBRARY_OUTPUT_DIRECTORY ${stock_lib}
    RUNTIME_OUTPUT_DIRECTORY ${stock_lib}
    POSITION_INDEPENDENT_CODE ON
    UNITY_BUILD ON
    UNITY_BUILD_BATCH_SIZE 16)
set(core_sources ${sources})
list(FILTER core_sources EXCLUDE REGEX "/models/")
set_source_files_properties(${core_sources} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)

foreach(target IN LISTS ggml_targets)
    add_custom_command(TARGET llama-stock POST_BUILD
        COMMAND ${CMAKE_COMMAND} -E copy_if_different $<TARGET_FILE:${target}> ${stock_lib})
endforeach()

include(${PROJECT_SOURCE_DIR}/tests/archs/generator.cmake)
