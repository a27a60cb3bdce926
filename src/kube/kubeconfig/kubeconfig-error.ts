/** A kubeconfig that cannot be written. The message names the file and the next step. */
export class KubeconfigWriteError extends Error {
  override readonly name = 'KubeconfigWriteError';
}
