# For `make cuda-check`, which compiles but links nothing: a CUDA toolkit of just nvcc and the runtime will do.
foreach(library cublas cuda_driver)
    add_library(CUDA::${library} INTERFACE IMPORTED GLOBAL)
endforeach()
