import { availableParallelism } from 'node:os';

/** Jest in ESM on Node 24: TypeScript is stripped by swc, workspaces resolve through their package exports. */
export default {
  testEnvironment: './test/harness/node-environment.mjs',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': ['@swc/jest', { jsc: { parser: { syntax: 'typescript' }, target: 'es2024' }, module: { type: 'es6' } }],
  },
  testMatch: ['<rootDir>/{packages,services,test,scripts}/**/*.test.ts'],
  // Tests of real servers wait more than they compute; each may bring several processes.
  maxWorkers: Math.max(2, Math.floor(availableParallelism() / 2)),
  testTimeout: 30_000,
  workerIdleMemoryLimit: '1GB',
};
