import { expect, test } from '@jest/globals';
import { loadIn, metricsUrlBeside } from './vllm-load.ts';

test("vLLM's waiting and running questions, summed over its engines", () => {
  const metrics = `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="llava {hf}"} 7.0
vllm:num_requests_running{engine="1",model_name="llava {hf}"} 5.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="llava {hf}"} 2.0
vllm:num_requests_waiting{engine="1",model_name="llava {hf}"} 1e1
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 99.0
`;
  expect(loadIn(metrics)).toEqual({ waiting: 12, running: 12 });
  expect(loadIn(metrics.replaceAll('\n', '\r\n'))).toEqual({ waiting: 12, running: 12 });
});

test('other metrics, and what is no metrics at all, say nothing', () => {
  expect(loadIn('process_cpu_seconds_total 1.5\nvllm:num_requests_waiting_by_reason{reason="x"} 3')).toBe(null);
  expect(loadIn('<html>vllm:num_requests_waiting</html>')).toBe(null);
  expect(loadIn('vllm:num_requests_waiting NaN')).toBe(null);
  expect(loadIn('')).toBe(null);
});

test.each([
  ['http://vlm:8000/v1', 'http://vlm:8000/metrics'],
  ['http://vlm:8000/v1/', 'http://vlm:8000/metrics'],
  ['https://gateway/llava/v1', 'https://gateway/llava/metrics'],
  ['http://vlm:8000', 'http://vlm:8000/metrics'],
])('the metrics of %s are at %s', (baseUrl, metrics) => {
  expect(metricsUrlBeside(baseUrl)).toBe(metrics);
});
