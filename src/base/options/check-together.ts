import type { OptionsTable } from './option-table.ts';
import type { OptionsDraft } from './read-options.ts';

/**
 * Reports two options that need each other, such as a certificate and its key, when only one of
 * them is given.
 */
export function checkTogether<T extends OptionsTable>(
  { given, label, problem }: Pick<OptionsDraft<T>, 'given' | 'label' | 'problem'>,
  one: keyof T & string,
  other: keyof T & string,
): void {
  if (given(one) === given(other)) return;
  const [present, absent] = given(one) ? [one, other] : [other, one];
  problem(`${label(present)} needs ${label(absent)} as well`);
}
