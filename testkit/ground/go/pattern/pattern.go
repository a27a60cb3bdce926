// Package pattern makes bytes that both ends can check: the period is a prime, so a lost, doubled or swapped
// block of any usual size shows. testkit/stream/pattern.ts makes the same bytes.
package pattern

import "fmt"

// Period is after how many bytes the pattern repeats.
const Period = 65521

var doubled = func() []byte {
	bytes := make([]byte, 2*Period)
	for i := range bytes {
		at := i % Period
		bytes[i] = byte(at*167 + (at>>8)*13)
	}
	return bytes
}()

// At returns up to Period bytes of the pattern from an offset on. They must not be written to.
func At(offset int64, length int) []byte {
	from := int(offset % Period)
	return doubled[from : from+min(length, Period)]
}

// Check returns an error that names the first byte that is not the pattern's.
func Check(offset int64, got []byte) error {
	for len(got) > 0 {
		want := At(offset, len(got))
		for i, b := range want {
			if got[i] != b {
				return fmt.Errorf("byte %d is %#02x, want %#02x", offset+int64(i), got[i], b)
			}
		}
		got, offset = got[len(want):], offset+int64(len(want))
	}
	return nil
}
