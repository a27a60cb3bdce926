#!/usr/bin/env node
import { runCli } from './run.ts';

const { env, stdout, stderr } = process;
const code = await runCli(process.argv.slice(2), { env, stdout, stderr, signals: process });

// After an orderly end the process leaves by itself; what a library still holds may not keep it longer than this.
const lingerMs = 1_000;
process.exitCode = code;
if (code === 0) setTimeout(() => process.exit(), lingerMs).unref();
else process.exit();
