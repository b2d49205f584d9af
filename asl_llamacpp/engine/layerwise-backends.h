#pragma once

// Loads the backends of a build that has them in files of their own (GGML_BACKEND_DL), from the folder of libllama.
// ggml_backend_load_all looks beside the program, which is Python, and in the working directory, which may be anybody's.
extern "C" void llama_layerwise_load_backends();
