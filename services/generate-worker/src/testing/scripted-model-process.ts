import { openScriptedModelServer, type ScriptedModelServerOptions } from './scripted-model-server.ts';

/** A ScriptedModelServer in a process of its own, to be killed by tests: its port, then its options as JSON; says `ready` with its address. */
const [port = '0', options = '{}'] = process.argv.slice(2);
const server = await openScriptedModelServer({ ...(JSON.parse(options) as ScriptedModelServerOptions), port: Number(port) });
process.stdout.write(`ready ${server.baseUrl}\n`);
process.once('SIGTERM', () => void server.close().then(() => process.exit(0)));
