// What libtorch can do and `tch` does not offer: mod.rs says what each function is for.
//
// No exception leaves this file. A function that can fail returns null, or a message that the caller frees.

#include <cstring>
#include <optional>
#include <vector>

#include <ATen/Context.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/stack.h>
#include <c10/core/CachingDeviceAllocator.h>

namespace {

template <typename F>
char *message_of(F body) {
  try {
    body();
    return nullptr;
  } catch (const std::exception &error) {
    return strdup(error.what());
  } catch (...) {
    return strdup("an unknown exception");
  }
}

std::vector<at::Tensor> list(at::Tensor *const *tensors, size_t count) {
  std::vector<at::Tensor> copies;
  copies.reserve(count);
  for (size_t i = 0; i < count; ++i) copies.push_back(*tensors[i]);
  return copies;
}

} // namespace

extern "C" {

char *umedsam_adamw(at::Tensor *const *parameters, at::Tensor *const *gradients, at::Tensor *const *means,
                    at::Tensor *const *squares, size_t count, const at::Tensor *steps, double learning_rate,
                    double beta1, double beta2, double weight_decay, double epsilon, const at::Tensor *not_finite) {
  return message_of([&] {
    const std::vector<at::Tensor> all_steps(count, *steps);
    const std::optional<at::Tensor> found = not_finite ? std::optional(*not_finite) : std::nullopt;
    at::_fused_adamw_(list(parameters, count), list(gradients, count), list(means, count), list(squares, count), {},
                      all_steps, learning_rate, beta1, beta2, weight_decay, epsilon, false, false, {}, found);
  });
}

char *umedsam_norm(at::Tensor *const *tensors, size_t count, at::Tensor *norm) {
  return message_of([&] { *norm = at::stack(at::_foreach_norm(list(tensors, count), 2)).norm(); });
}

char *umedsam_add_scaled(at::Tensor *const *tensors, at::Tensor *const *others, size_t count,
                         const at::Tensor *factor) {
  return message_of([&] { at::_foreach_add_(list(tensors, count), at::_foreach_mul(list(others, count), *factor)); });
}

char *umedsam_pinned(const at::Tensor *tensor, at::Tensor *pinned) {
  return message_of([&] { *pinned = tensor->pin_memory(); });
}

char *umedsam_is_pinned(const at::Tensor *tensor, bool *pinned) {
  return message_of([&] { *pinned = tensor->is_pinned(); });
}

// Its plans for biases of odd lengths are known to be missing or wrong at times; the other kernels are those of training.
char *umedsam_no_cudnn_attention() {
  return message_of([] { at::globalContext().setSDPUseCuDNN(false); });
}

char *umedsam_tf32(bool allowed) {
  return message_of([&] {
    at::globalContext().setAllowTF32CuBLAS(allowed);
    at::globalContext().setAllowTF32CuDNN(allowed);
  });
}

char *umedsam_deterministic(bool asked) {
  return message_of([&] {
    at::globalContext().setDeterministicAlgorithms(asked, false);
    at::globalContext().setDeterministicCuDNN(asked);
  });
}

char *umedsam_free_cached_memory() {
  return message_of([] { at::getDeviceAllocator(at::kCUDA)->emptyCache(); });
}

char *umedsam_reset_peak_memory(signed char device) {
  return message_of([&] { at::getDeviceAllocator(at::kCUDA)->resetPeakStats(device); });
}

char *umedsam_peak_memory(signed char device, int64_t *bytes) {
  return message_of([&] {
    const auto stats = at::getDeviceAllocator(at::kCUDA)->getDeviceStats(device);
    *bytes = stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
  });
}

} // extern "C"
