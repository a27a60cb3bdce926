import type { Clock } from '../../base/clock.ts';
import { describeError } from '../../base/error.ts';
import { ReloadedFiles } from '../../base/files/reloaded-files.ts';
import type { Logger } from '../../base/log/logger.ts';
import type { KubeApi } from '../../kube/client/kube-api.ts';
import type { KubeObject } from '../../kube/client/kube-object.ts';
import { parseYaml } from '../../kube/client/parse-yaml.ts';
import { Informer } from '../../kube/controllers/informer.ts';
import { ExposedServices, parseExposedServices } from '../exposed-services.ts';

/** A namespace and the name of an object in it. */
export interface NamespacedName {
  readonly namespace: string;
  readonly name: string;
}

/** The exposed Services as they are now. */
export interface ExposedServicesSource extends AsyncDisposable {
  readonly value: ExposedServices;
}

interface Parts {
  readonly clock: Clock;
  readonly log: Logger;
}

/** Reads the list in a file. @throws Error the file cannot be read or used */
export async function servicesOfFile(
  path: string,
  { clock, log }: Parts,
): Promise<ExposedServicesSource> {
  const file = await ReloadedFiles.open({
    what: 'list of exposed Services',
    paths: [path],
    make: ([text = '']) => parseExposedServices({ [path]: text }, parseYaml),
    clock,
    log,
  });
  return {
    get value() {
      return file.value;
    },
    [Symbol.asyncDispose]: async () => file.close(),
  };
}

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>;
}

/**
 * Follows the lists in a ConfigMap. A list that cannot be read leaves the last good lists in use.
 * Without the ConfigMap, no Service is exposed.
 */
export function servicesOfConfigMap(
  api: KubeApi,
  { namespace, name }: NamespacedName,
  { clock, log }: Parts,
): ExposedServicesSource {
  let value = new ExposedServices([]);
  const collection = { apiVersion: 'v1', kind: 'ConfigMap', namespace };
  const fieldSelector = `metadata.name=${name}`;
  const informer = new Informer<ConfigMap>({ api, collection, fieldSelector, clock, log });
  informer.onChange(({ now }) => {
    if (now !== undefined && now.metadata.name !== name) return;
    try {
      value = parseExposedServices(now?.data ?? {}, parseYaml);
      log.info('exposed Services changed', { namespace, name, open: value.size });
    } catch (thrown) {
      log.error('the list of exposed Services cannot be used, the last good list stays', {
        ...{ namespace, name, error: describeError(thrown) },
      });
    }
  });
  const stop = new AbortController();
  const running = informer.run(stop.signal);
  return {
    get value() {
      return value;
    },
    async [Symbol.asyncDispose]() {
      stop.abort(new Error('the gateway is shutting down'));
      await running;
    },
  };
}

/** No Services. */
export const noServices: ExposedServicesSource = {
  value: new ExposedServices([]),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};
