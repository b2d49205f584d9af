"""The engine: our C++ inside libllama (layerwise*.cpp) and its Python binding (binding.py)."""
