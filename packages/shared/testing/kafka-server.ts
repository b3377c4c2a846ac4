import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, logLevel } from 'kafkajs';
import { freePort } from './free-port.ts';
import { KAFKA_JARS, KAFKA_VERSION } from './kafka-jars.ts';

export interface KafkaServer {
  brokers: string[];
  /** SIGTERM, SIGKILL, and the same broker with its data again. Null for a broker that is not ours. */
  stop: (() => Promise<void>) | null;
  kill: (() => Promise<void>) | null;
  start: (() => Promise<void>) | null;
  /** SIGSTOP and SIGCONT: a broker whose connections stand and that does not answer. */
  freeze: (() => void) | null;
  thaw: (() => void) | null;
  close(): Promise<void>;
}

const UP_WITHIN_MS = 120_000;

const fromEnvironment = process.env['KAFKA_BROKERS'];
const hasLocal = existsSync(KAFKA_JARS) && spawnSync('java', ['-version']).status === 0;
const hasDocker = !fromEnvironment && !hasLocal && spawnSync('docker', ['info'], { timeout: 5_000 }).status === 0;

/** Whether a test can have a real Kafka here; else the reason why not, for the name of the skipped test. */
export const kafkaMissing: string | null =
  fromEnvironment || hasLocal || hasDocker ? null : 'no KAFKA_BROKERS, no Kafka jars with Java 17, no Docker';

/** Whether a test can have one that it starts, stops and kills itself. */
export const ownKafkaMissing: string | null =
  !fromEnvironment && hasLocal ? null : 'no Kafka jars with Java 17, or a broker that is not ours to end';

/** The broker that KAFKA_BROKERS names; else one of the test's own from the jars that `npm test` fetches, else in a container. */
export async function openKafkaServer(): Promise<KafkaServer> {
  if (fromEnvironment) return { ...NOT_OURS, brokers: fromEnvironment.split(','), close: async () => undefined };
  return hasLocal ? openLocalKafka() : openKafkaContainer();
}

const NOT_OURS = { stop: null, kill: null, start: null, freeze: null, thaw: null };

/** Broker and controller in one, settings for a test: one of everything, no waiting for members. */
const PROPERTIES = {
  'process.roles': 'broker,controller',
  'node.id': 1,
  'controller.listener.names': 'CONTROLLER',
  'listener.security.protocol.map': 'CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT',
  'inter.broker.listener.name': 'PLAINTEXT',
  'num.partitions': 1,
  'auto.create.topics.enable': false,
  'offsets.topic.num.partitions': 1,
  'offsets.topic.replication.factor': 1,
  'transaction.state.log.num.partitions': 1,
  'transaction.state.log.replication.factor': 1,
  'transaction.state.log.min.isr': 1,
  'group.initial.rebalance.delay.ms': 0,
  'controlled.shutdown.enable': false,
  // A broker that was killed may come back once its old session is over.
  'broker.session.timeout.ms': 4_000,
  'broker.heartbeat.interval.ms': 500,
};

async function openLocalKafka(): Promise<KafkaServer> {
  const dir = mkdtempSync(join(tmpdir(), 'sightline-kafka-'));
  const [port, controllerPort] = [await freePort(), await freePort()];
  const properties = {
    ...PROPERTIES,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    'log.dirs': join(dir, 'data'),
  };
  const file = join(dir, 'server.properties');
  writeFileSync(file, Object.entries(properties).map(([name, value]) => `${name}=${value}\n`).join('')); // prettier-ignore
  const java = (...args: string[]) => ['-Xmx384m', '-XX:+UseSerialGC', '-cp', join(KAFKA_JARS, '*'), ...args];
  const clusterId = 'c2lnaHRsaW5lLXRlc3RzIQ';
  const formatted = spawnSync('java', java('kafka.tools.StorageTool', 'format', '-t', clusterId, '-c', file), {
    encoding: 'utf8',
  });
  if (formatted.status !== 0) throw new Error(`Kafka's storage could not be made: ${formatted.stdout}${formatted.stderr}`);
  const brokers = [`127.0.0.1:${port}`];
  let child: ChildProcess | null = null;
  const end = async (signal: 'SIGTERM' | 'SIGKILL'): Promise<void> => {
    const running = child;
    child = null;
    if (!running || running.exitCode !== null) return;
    const exited = new Promise((resolve) => running.once('exit', resolve));
    running.kill('SIGCONT');
    running.kill(signal);
    await Promise.race([exited, sleep(10_000, undefined, { ref: false }).then(() => running.kill('SIGKILL'))]);
    await exited;
  };
  const start = async (): Promise<void> => {
    let output = '';
    const started = spawn('java', java('kafka.Kafka', file), { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [started.stdout, started.stderr])
      stream.on('data', (data: Buffer) => (output = `${output}${data.toString()}`.slice(-4_000)));
    child = started;
    await untilUp(brokers, () => (started.exitCode === null ? null : `Kafka ended: ${output}`));
  };
  const close = async (): Promise<void> => {
    await end('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    await start();
  } catch (error) {
    await close();
    throw error;
  }
  return {
    brokers,
    start,
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    close,
  };
}

async function openKafkaContainer(): Promise<KafkaServer> {
  const { GenericContainer } = await import('testcontainers');
  // The broker tells clients its own address, so that its port outside has to be known before it starts.
  const port = await freePort();
  const properties = {
    ...PROPERTIES,
    listeners: `PLAINTEXT://:${port},CONTROLLER://:9093`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${port}`,
    'controller.quorum.voters': '1@localhost:9093',
  };
  const environment = Object.fromEntries(
    Object.entries(properties).map(([name, value]) => [`KAFKA_${name.toUpperCase().replaceAll('.', '_')}`, String(value)]),
  );
  const container = await new GenericContainer(`apache/kafka:${KAFKA_VERSION}`)
    .withEnvironment(environment)
    .withExposedPorts({ container: port, host: port })
    .start();
  const brokers = [`127.0.0.1:${port}`];
  await untilUp(brokers, () => null);
  return { ...NOT_OURS, brokers, close: async () => void (await container.stop()) };
}

async function untilUp(brokers: string[], ended: () => string | null): Promise<void> {
  const kafka = new Kafka({ brokers, logLevel: logLevel.NOTHING, connectionTimeout: 1_000, retry: { retries: 0 } });
  for (const startedAt = performance.now(); ; await sleep(200)) {
    const admin = kafka.admin();
    try {
      await admin.connect();
      await admin.listTopics();
      return;
    } catch (error) {
      const reason = ended();
      if (reason !== null) throw new Error(reason, { cause: error });
      if (performance.now() - startedAt > UP_WITHIN_MS) throw new Error('Kafka does not come up', { cause: error });
    } finally {
      await admin.disconnect().catch(() => undefined);
    }
  }
}
