/** Kubernetes reads `$(NAME)` in arguments and variables as a reference, and `$$` as a dollar: a password may hold either. */
export function escapeDollar(value: string): string {
  return value.replaceAll('$', '$$$$');
}
