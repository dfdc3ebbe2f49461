// A CUDA device that is nothing: PyTorch built for CPUs asks it for streams and events, and gets ones that do nothing.
// Loaded before torch (LD_PRELOAD), it lets FakeTensorMode follow tensors of such a device through forward and backward.

#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace c10::impl {

const Device FIRST(DeviceType::CUDA, 0);

struct NoGuard : NoOpDeviceGuardImpl<DeviceType::CUDA> {
  Device getDevice() const override { return FIRST; }
  Device exchangeDevice(Device) const override { return FIRST; }
  DeviceIndex deviceCount() const noexcept override { return 1; }
  Stream getStream(Device) const noexcept override { return Stream(Stream::DEFAULT, FIRST); }
  Stream getDefaultStream(Device) const override { return Stream(Stream::DEFAULT, FIRST); }
  void record(void** event, const Stream&, const DeviceIndex, const EventFlag) const override { *event = nullptr; }
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const DeviceIndex) const noexcept override {}
};

C10_REGISTER_GUARD_IMPL(CUDA, NoGuard);

}  // namespace c10::impl

namespace at {

struct CUDAHooks : CUDAHooksInterface {  // looked for by this name
  explicit CUDAHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  int getNumGPUs() const override { return 1; }
  DeviceIndex deviceCount() const override { return 1; }
  DeviceIndex current_device() const override { return 0; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(DeviceIndex) const override {}
  DeviceIndex exchangeDevice(DeviceIndex) const override { return 0; }
  DeviceIndex maybeExchangeDevice(DeviceIndex) const override { return 0; }
};

REGISTER_CUDA_HOOKS(CUDAHooks);

}  // namespace at
