import { describeGateway } from '../contracts/gateway.contract.ts';
import { startGatewayWorker } from './gateway-worker.ts';

describeGateway('in the Worker', () => startGatewayWorker());
