/** Who may do what: a row for each way to the clusters, a column for each user and cluster. */
export class RightsTable {
  readonly #rows = new Map<string, Map<string, Set<string>>>();
  readonly #columns = new Set<string>();

  /** Adds the result of a request, for example `read` and `200`. */
  add(way: string, user: string, cluster: string, request: string, result: string): void {
    const column = `${user} at ${cluster}`;
    this.#columns.add(column);
    const row = this.#rows.get(way) ?? new Map<string, Set<string>>();
    this.#rows.set(way, row);
    row.set(column, (row.get(column) ?? new Set()).add(`${request}: ${result}`));
  }

  toMarkdown(): string {
    const columns = [...this.#columns].toSorted();
    const rows = [...this.#rows].map(([way, cells]) => [
      way,
      ...columns.map((column) => [...(cells.get(column) ?? [])].join(', ')),
    ]);
    return [['way', ...columns], ['---', ...columns.map(() => '---')], ...rows]
      .map((cells) => `| ${cells.join(' | ')} |`)
      .join('\n');
  }
}
