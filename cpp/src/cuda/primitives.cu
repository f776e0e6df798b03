// What is taken from CUB, and the check of every call.
#include <cub/device/device_scan.cuh>
#include <cub/device/device_segmented_radix_sort.cuh>

#include "cuda/execution/device.cuh"

namespace instseg::cuda {

void check_cuda(cudaError_t error, const char* call) {
  if (error == cudaSuccess) {
    return;
  }
  (void)cudaGetLastError();  // an error that can be left behind does not reach the next call
  throw StatusError(
      error == cudaErrorMemoryAllocation ? INSTSEG_STATUS_OUT_OF_MEMORY : INSTSEG_STATUS_BACKEND,
      std::string(call) + " failed: " + cudaGetErrorString(error) + " (" + cudaGetErrorName(error) +
          ")");
}

void device_exclusive_sum(void* scratch, std::size_t& bytes, const std::int64_t* in,
                          std::int64_t* out, std::int64_t count, cudaStream_t stream) {
  check_cuda(cub::DeviceScan::ExclusiveSum(scratch, bytes, in, out, count, stream),
             "cub::DeviceScan::ExclusiveSum");
}

void device_sort_rows(void* scratch, std::size_t& bytes, const std::uint64_t* in,
                      std::uint64_t* out, std::int64_t segments, std::int64_t items,
                      const std::int64_t* offsets, cudaStream_t stream) {
  check_cuda(cub::DeviceSegmentedRadixSort::SortKeys(scratch, bytes, in, out, segments * items,
                                                     segments, offsets, offsets + 1, 0, 64, stream),
             "cub::DeviceSegmentedRadixSort::SortKeys");
}

}  // namespace instseg::cuda
