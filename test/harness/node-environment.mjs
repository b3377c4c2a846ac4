import { TestEnvironment } from 'jest-environment-node';

/**
 * Jest runs tests in their own realm, whose typed arrays are not the ones native addons test against:
 * onnxruntime-node answers "data must be type of function Float32Array()". The outer realm's arrays mend it.
 */
export default class NodeEnvironment extends TestEnvironment {
  async setup() {
    await super.setup();
    Object.assign(this.global, {
      ArrayBuffer,
      Float32Array,
      Uint8Array,
      Uint8ClampedArray,
      Uint16Array,
      Int32Array,
      BigInt64Array,
      Float64Array,
      Float16Array: globalThis.Float16Array,
    });
  }
}
