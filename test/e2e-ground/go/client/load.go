package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

const keptErrors = 10

// tally is what happened under load.
type tally struct {
	mutex    sync.Mutex
	requests int
	slowest  time.Duration
	bytes    int64
	errors   []string
	failed   int
}

func (t *tally) fail(what string, err error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.failed++
	if len(t.errors) < keptErrors {
		t.errors = append(t.errors, fmt.Sprintf("%s %s: %s", time.Now().Format(time.RFC3339Nano), what, err))
	}
}

func (t *tally) result() result {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return result{
		"requests":  t.requests,
		"slowestMs": t.slowest.Milliseconds(),
		"bytes":     t.bytes,
		"failed":    t.failed,
		"errors":    t.errors,
	}
}

// load asks for /healthz through a new tunnel again and again and, with --path, reads a body that does not end, until
// stdin does. A line each second tells how far it is, the last what went wrong; anything that did is a failure.
func load(_ context.Context, opts *options) (result, error) {
	ctx, stop := context.WithCancel(context.Background())
	counts := &tally{}
	var running sync.WaitGroup
	for range opts.workers {
		running.Go(func() { ask(ctx, opts, counts) })
	}
	if opts.path != "" {
		running.Go(func() { read(ctx, opts, counts) })
	}
	go func() {
		for range time.Tick(time.Second) {
			print(counts.result())
		}
	}()
	_, _ = io.Copy(io.Discard, os.Stdin)
	stop()
	running.Wait()
	out := counts.result()
	if counts.failed > 0 {
		return out, fmt.Errorf("%d of the requests failed", counts.failed)
	}
	return out, nil
}

// ask makes a client each time: a new connection, as a user's next command makes one. The certificates are read again too.
func ask(ctx context.Context, opts *options, counts *tally) {
	for ctx.Err() == nil {
		startedAt := time.Now()
		fresh := &options{user: opts.user}
		err := fresh.user.open()
		if err == nil {
			limited, cancel := context.WithTimeout(ctx, 20*time.Second)
			_, err = healthz(limited, fresh)
			cancel()
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			counts.fail("GET /healthz", err)
		}
		counts.mutex.Lock()
		counts.requests++
		counts.slowest = max(counts.slowest, time.Since(startedAt))
		counts.mutex.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(opts.every):
		}
	}
}

func read(ctx context.Context, opts *options, counts *tally) {
	client, closed, err := opts.user.client()
	if err != nil {
		counts.fail("transfer", err)
		return
	}
	defer closed()
	body, err := client.RESTClient().Get().RequestURI(opts.path).Stream(ctx)
	if err != nil {
		if ctx.Err() == nil {
			counts.fail("transfer", err)
		}
		return
	}
	defer body.Close()
	_, err = check(body, func(bytes int64) {
		counts.mutex.Lock()
		counts.bytes = bytes
		counts.mutex.Unlock()
	})
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		err = fmt.Errorf("the body ended")
	}
	counts.fail("transfer", err)
}
