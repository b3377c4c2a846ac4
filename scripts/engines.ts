/**
 * `npm run engines`: fetches what the tests can run real engines from, once: a Kafka broker's jars (Maven, Java 17) and the Versity S3
 * gateway (Go). Redis and Qdrant are a `redis-server` and a `qdrant` on the PATH, or REDIS_URL and QDRANT_URL. What cannot be had is
 * said, and its tests skip by name.
 */
import { installKafkaJars } from '@sightline/shared/testing/kafka-jars';
import { installVersitygw } from '@sightline/shared/testing/s3-server-install';

const gateway = installVersitygw();
const kafka = installKafkaJars();
console.log(`S3 gateway: ${'path' in gateway ? gateway.path : `none: ${gateway.missing}`}`);
console.log(`Kafka: ${kafka === null ? 'there' : `none: ${kafka}`}`);
