import type { SecureContext } from 'node:tls';
import type { buildConnector } from 'undici';
import { isAllowedPeer, judgedLookup, type ResolveName } from './guarded-lookup.ts';
import { refusedHost, type EgressPolicy, type JudgedUrl } from './guarded-url.ts';

export interface GuardedConnectorOptions {
  policy: EgressPolicy;
  resolve: ResolveName;
  /** Makes what connects, from undici's options, the judging lookup among them. */
  build: typeof buildConnector;
  /** The certificates to trust, read once. */
  secureContext: SecureContext;
}

const CONNECT_TIMEOUT_MS = 10_000;
/** Before the next address of a name is tried beside this one. */
const NEXT_ADDRESS_MS = 1_000;

/** Connects to judged addresses only, and looks at where the socket came out before a byte of the request is written. */
export function guardedConnector(
  target: JudgedUrl,
  { policy, resolve, build, secureContext }: GuardedConnectorOptions,
): buildConnector.connector {
  const connect = build({
    lookup: judgedLookup(target, policy, resolve),
    autoSelectFamily: true,
    autoSelectFamilyAttemptTimeout: NEXT_ADDRESS_MS,
    timeout: CONNECT_TIMEOUT_MS,
    allowH2: false,
    // A resumed session is not held against the name again.
    maxCachedSessions: 0,
    // Said here, the environment cannot turn it off.
    rejectUnauthorized: true,
    secureContext,
  });
  // What connects is given back: undici ends it when its request is aborted before it has connected.
  return (place, callback) =>
    connect(place, (...[error, socket]) => {
      if (error) return callback(error, null);
      if (isAllowedPeer(socket.remoteAddress ?? '', target, policy)) return callback(null, socket);
      socket.destroy();
      return callback(refusedHost(), null);
    });
}
