import { openWebhookReceiver } from './webhook-receiver.ts';

/**
 * A receiver in a process of its own, to be killed by tests: says `listening URL`. `dieAt`: at these requests (counted from 1 over all
 * lives of its file) it dies after storing, before it answers.
 */
const { secrets, file, port, dieAt } = JSON.parse(process.argv[2] ?? '{}') as {
  secrets: string[];
  file: string;
  port?: number;
  dieAt?: number[];
};
const { url } = await openWebhookReceiver({
  secrets,
  file,
  ...(port !== undefined && { port }),
  answer({ nth }) {
    if (dieAt?.includes(nth)) process.kill(process.pid, 'SIGKILL');
    return { status: 204 };
  },
});
process.stdout.write(`listening ${url}\n`);
