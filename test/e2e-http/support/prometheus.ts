import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort, startProgram, type Program } from '../../../testkit/processes/process.ts';

/** The latest scrape of a target, as `/api/v1/targets` reports it. */
export interface ScrapedTarget {
  readonly job: string;
  readonly health: 'unknown' | 'up' | 'down';
  /** Empty after a scrape that worked. */
  readonly lastError: string;
}

/** A real Prometheus that scrapes its targets every second. */
export class Prometheus implements AsyncDisposable {
  readonly #program: Program;
  readonly #url: string;

  private constructor(program: Program, url: string) {
    this.#program = program;
    this.#url = url;
  }

  /** @param jobs the `scrape_configs` of its configuration */
  static async start(
    program: string,
    directory: string,
    jobs: readonly object[],
  ): Promise<Prometheus> {
    const port = await freePort();
    const own = join(directory, `prometheus-${port}`);
    await mkdir(own);
    const configuration = join(own, 'prometheus.yml');
    const scrapes = jobs.map((job) => ({ scrape_interval: '1s', ...job }));
    await writeFile(configuration, JSON.stringify({ scrape_configs: scrapes }));
    const prometheus = startProgram({
      command: program,
      name: 'prometheus',
      args: [
        `--config.file=${configuration}`,
        `--storage.tsdb.path=${join(own, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
    });
    await prometheus.waitForPort(port);
    return new Prometheus(prometheus, `http://127.0.0.1:${port}`);
  }

  /** The labels of all series of a metric. */
  async labels(metric: string): Promise<readonly Readonly<Record<string, string>>[]> {
    const { result } = await this.#get<Sampled>(`/api/v1/query?query=${metric}`);
    return result.map((series) => series.metric);
  }

  async targets(): Promise<readonly ScrapedTarget[]> {
    const { activeTargets } = await this.#get<Targets>('/api/v1/targets');
    return activeTargets.map(({ scrapePool, health, lastError }) => ({
      job: scrapePool,
      health,
      lastError,
    }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program.stop();
  }

  async #get<Data>(path: string): Promise<Data> {
    const answer = await fetch(this.#url + path);
    return ((await answer.json()) as { readonly data: Data }).data;
  }
}

interface Sampled {
  readonly result: readonly { readonly metric: Readonly<Record<string, string>> }[];
}

interface Targets {
  readonly activeTargets: readonly (Omit<ScrapedTarget, 'job'> & { readonly scrapePool: string })[];
}
