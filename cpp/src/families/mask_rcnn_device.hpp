// Family mask_rcnn on the GPU.
#pragma once

#include <memory>
#include <string>

#include "families/family.hpp"
#include "families/mask_rcnn_layout.hpp"
#include "families/mask_rcnn_stages.hpp"

namespace instseg {

// Why it cannot be done on the GPU; empty where it can.
std::string mask_rcnn_device_obstacle(const MaskRcnnLayout& layout);

// Waits three times in a run: heads are run on as many RoIs as there are, so the numbers of
// proposals and of detections come to the host; then the results. `sessions` and `layout` outlive
// the run.
std::unique_ptr<DeviceRun> make_mask_rcnn_device_run(const MaskRcnnSessions& sessions,
                                                     const MaskRcnnLayout& layout,
                                                     const CudaDevice& device,
                                                     const InputSpec& input);

}  // namespace instseg
