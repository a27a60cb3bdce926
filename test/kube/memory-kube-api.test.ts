import { describeKubeApi } from '../contracts/kube-api.contract.ts';
import { MemoryKubeApi } from '../../testkit/kube/memory-kube-api.ts';

describeKubeApi('in memory', () => {
  const api = new MemoryKubeApi({ fieldManager: 'contract' });
  const forget = () => Promise.resolve(api.compact());
  return Promise.resolve({ api, other: api.as('other'), forget });
});
