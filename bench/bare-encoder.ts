/** The floor's encoder: a worker thread that holds a session of the pack's vision graph and does nothing but run it. */
import { parentPort, workerData } from 'node:worker_threads';
import { InferenceSession, Tensor } from 'onnxruntime-node';

interface Input {
  graphFile: string;
  threads: number;
}
const { graphFile, threads } = workerData as Input;
// As the encoder process opens it: threads that spin between batches take the cores from decoding, and the floor would lie lower.
const session = await InferenceSession.create(graphFile, {
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  logSeverityLevel: 3,
  extra: { session: { intra_op: { allow_spinning: '0' } } },
});

parentPort?.on('message', ({ pixels, shape }: { pixels: Float32Array; shape: number[] }) => {
  void session.run({ pixel_values: new Tensor('float32', pixels, shape) }).then(() => parentPort?.postMessage('done'));
});
parentPort?.postMessage('ready');
