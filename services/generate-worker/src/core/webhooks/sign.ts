import { Webhook } from 'standardwebhooks';

const PREFIX = 'whsec_';

/**
 * The headers of the Standard Webhooks: the message's id, the attempt's time (Unix milliseconds here, seconds there), and a signature by
 * each secret, so that a receiver that knows one of them verifies.
 */
export function signedHeaders(messageId: string, at: number, body: string, secrets: string[]): Record<string, string> {
  const time = new Date(at);
  return {
    'webhook-id': messageId,
    'webhook-timestamp': String(Math.floor(at / 1000)),
    'webhook-signature': secrets
      .map((secret) => new Webhook(keyOf(secret), { format: 'raw' }).sign(messageId, time, body))
      .join(' '),
  };
}

/** Decoded here because the library refuses base64 without its padding, which askers may leave out. */
function keyOf(secret: string): Uint8Array {
  return Buffer.from(secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : secret, 'base64');
}
