package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"culvert.test/ground/front"
	"culvert.test/ground/pattern"
)

const (
	// A connection that has not ended by then counts as hung; the library's own limits are 10 s and 30 s.
	eachLimit   = 40 * time.Second
	errorsShown = 5
)

// parallel dials all at once, each through its own tunnel, and has a few bytes echoed on each.
func parallel(ctx context.Context, opts *options, _ []string) (result, error) {
	dialMs := make([]int64, opts.count)
	out, err := each(opts.count, opts.count, func(i int) error {
		startedAt := time.Now()
		conn, err := opts.front.Dial(ctx, opts.to)
		if err != nil {
			return fmt.Errorf("dial: %w", err)
		}
		dialMs[i] = time.Since(startedAt).Milliseconds()
		sent := []byte(fmt.Sprintf("connection %d of %d\n", i, opts.count))
		if _, err := conn.Write(sent); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(conn, got); err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if !bytes.Equal(sent, got) {
			return fmt.Errorf("echo of %q is %q", sent, got)
		}
		return front.Close(conn)
	})
	slices.Sort(dialMs)
	out["dialP50Ms"] = dialMs[len(dialMs)/2]
	return out, err
}

// serverFirst reads from a target that speaks before it is spoken to, and checks each byte.
func serverFirst(ctx context.Context, opts *options, _ []string) (result, error) {
	return each(opts.count, opts.atOnce, func(int) error {
		conn, err := opts.front.Dial(ctx, opts.to)
		if err != nil {
			return fmt.Errorf("dial: %w", err)
		}
		got := make([]byte, opts.bytes)
		n, err := io.ReadFull(conn, got)
		if checkErr := pattern.Check(0, got[:n]); checkErr != nil {
			return checkErr
		}
		if err != nil {
			return fmt.Errorf("%d of %d bytes, then: %w", n, opts.bytes, err)
		}
		if opts.untilEOF {
			if extra, err := conn.Read(make([]byte, 1)); err != io.EOF {
				return fmt.Errorf("after the last byte: %d bytes and error %v, want EOF", extra, err)
			}
		}
		return front.Close(conn)
	})
}

// writeClose writes and closes at once. What arrived is the target's to tell.
func writeClose(ctx context.Context, opts *options, _ []string) (result, error) {
	var closeErrors sync.Map
	out, err := each(opts.count, opts.atOnce, func(i int) error {
		conn, err := opts.front.Dial(ctx, opts.to)
		if err != nil {
			return fmt.Errorf("dial: %w", err)
		}
		for sent := int64(0); sent < opts.bytes; {
			n, err := conn.Write(pattern.At(sent, int(min(chunkBytes, opts.bytes-sent))))
			if err != nil {
				return fmt.Errorf("write after %d bytes: %w", sent, err)
			}
			sent += int64(n)
		}
		if err := front.Close(conn); err != nil {
			closeErrors.Store(i, err.Error())
		}
		return nil
	})
	var shown []string
	closeErrors.Range(func(_, value any) bool {
		shown = append(shown, value.(string))
		return true
	})
	out["closeErrors"] = shown
	return out, err
}

// each runs work count times, atOnce at a time, and counts how it ended.
func each(count, atOnce int, work func(i int) error) (result, error) {
	if count < 1 || atOnce < 1 {
		return nil, errors.New("--count and --at-once must be at least 1")
	}
	var lock sync.Mutex
	var shown []string
	failed, hung := 0, 0
	startedAt := time.Now()

	var all sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range count {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			err := within(eachLimit, func() error { return work(i) })
			if err == nil {
				return
			}
			lock.Lock()
			defer lock.Unlock()
			failed++
			if errors.Is(err, errTimedOut) {
				hung++
			}
			if len(shown) < errorsShown {
				shown = append(shown, fmt.Sprintf("connection %d: %s", i, err))
			}
		})
	}
	all.Wait()

	out := result{
		"count":  count,
		"passed": count - failed,
		"failed": failed,
		"hung":   hung,
		"errors": shown,
		"tookMs": time.Since(startedAt).Milliseconds(),
	}
	if failed > 0 {
		return out, fmt.Errorf("%d of %d connections failed", failed, count)
	}
	return out, nil
}
