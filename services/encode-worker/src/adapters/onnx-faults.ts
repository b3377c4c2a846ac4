/** ONNX Runtime and CUDA report faults as text only; this is the one place that reads it. */
const OUT_OF_MEMORY =
  /out of memory|failed to allocate|bad_alloc|allocation failed|available memory of .* is smaller than requested|(CUBLAS|CUDNN)_STATUS_(ALLOC_FAILED|INTERNAL_ERROR_DEVICE_MEMORY)/i;
const DEVICE = /\bCUDA (failure|error)|\bcudaError|\b(CUBLAS|CUDNN|CURAND|CUFFT)(_STATUS| failure)/i;

/** There was no memory for the batch; a smaller one may fit. */
export const isOutOfMemory = (text: string): boolean => OUT_OF_MEMORY.test(text);

/** An execution provider is not in this installation, or finds no device. */
export const isProviderFault = (text: string): boolean => /provider|backend|\bCUDA\b/i.test(text);

/** The GPU or its context failed: every later call of this process would fail as well. */
export const isDeviceLost = (text: string): boolean => DEVICE.test(text) && !isOutOfMemory(text);
