import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const KAFKA_VERSION = '4.1.0';
const LOG4J_VERSION = '2.25.1';

const ENGINES = fileURLToPath(new URL('../../../node_modules/.cache/sightline-engines', import.meta.url));

/** Where the jars of a broker lie once `installKafkaJars` was here. */
export const KAFKA_JARS = join(ENGINES, `kafka-${KAFKA_VERSION}`);

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>sightline</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>${LOG4J_VERSION}</version></dependency>
  </dependencies>
</project>
`;

/**
 * Fetches a broker's jars (43 MB, once) with Maven. Answers null when they are there, else why they are not: without Java 17,
 * without Maven, without its repository.
 */
export function installKafkaJars(): string | null {
  if (existsSync(KAFKA_JARS)) return null;
  const java = /version "(\d+)/.exec(spawnSync('java', ['-version'], { encoding: 'utf8' }).stderr ?? '')?.[1];
  if (!java || Number(java) < 17) return 'no Java 17 or newer';
  const folder = `${KAFKA_JARS}-${process.pid}`;
  mkdirSync(folder, { recursive: true });
  try {
    writeFileSync(join(folder, 'pom.xml'), POM);
    const args = ['-B', '-q', '-f', join(folder, 'pom.xml'), 'dependency:copy-dependencies', `-DoutputDirectory=${folder}`];
    const { status, error, stdout } = spawnSync('mvn', args, { encoding: 'utf8', timeout: 300_000 });
    if (error) return 'no Maven';
    if (status !== 0) return `Maven failed: ${stdout.trim().split('\n')[0] ?? ''}`;
    // Whole or not at all; another run may have been quicker.
    if (!existsSync(KAFKA_JARS)) renameSync(folder, KAFKA_JARS);
    return null;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
