import { memoryLinkPair } from '../../src/tunnel/memory-link.ts';
import { describeLink } from '../contracts/link.contract.ts';

const schedulers = {
  microtasks: queueMicrotask,
  immediates: (run: () => void) => void setImmediate(run),
};

for (const [name, schedule] of Object.entries(schedulers)) {
  describeLink(`memory, scheduled by ${name}`, async () => {
    const [left, right] = memoryLinkPair(schedule);
    return { left, right, async [Symbol.asyncDispose]() {} };
  });
}
