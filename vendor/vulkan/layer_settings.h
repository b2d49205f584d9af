#pragma once

// For ggml-vulkan.cpp on headers before Vulkan 1.3.272, as Debian 12 has them: what VK_EXT_layer_settings declares. It is
// used for the validation layer only, where that is installed.

#ifdef __cplusplus

#include <vulkan/vulkan_core.h>

#if VK_HEADER_VERSION < 272 && !defined(VK_EXT_layer_settings)

#include <vector>

namespace vk {

enum class LayerSettingTypeEXT { eBool32 = 0 };

struct LayerSettingEXT {
    const char *        layer;
    const char *        name;
    LayerSettingTypeEXT type;
    uint32_t            n_values;
    const void *        values;
};

struct LayerSettingsCreateInfoEXT {
    explicit LayerSettingsCreateInfoEXT(const std::vector<LayerSettingEXT> & settings) :
        n_settings(settings.size()), settings(settings.data()) {}

    VkStructureType         type       = (VkStructureType) 1000496000;
    const void *            next       = nullptr;
    uint32_t                n_settings = 0;
    const LayerSettingEXT * settings   = nullptr;
};

}

#endif
#endif
