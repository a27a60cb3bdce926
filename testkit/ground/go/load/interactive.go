package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// interactive sends one byte and waits for its echo on many connections at the same time, with a pause after each
// answer. Bulk connections beside them write without end.
func interactive(ctx context.Context, opts *options) (result, error) {
	if opts.streams < 1 {
		return nil, errors.New("--streams must be at least 1")
	}
	conns := make([]net.Conn, opts.streams)
	for i := range conns {
		conn, err := opts.open(ctx, kindEcho)
		if err != nil {
			return nil, fmt.Errorf("stream %d: %w", i, err)
		}
		defer conn.Close()
		conns[i] = conn
	}
	broken := make(chan error, opts.bulk+opts.streams)
	for i := range opts.bulk {
		conn, err := opts.open(ctx, kindSink)
		if err != nil {
			return nil, fmt.Errorf("bulk stream %d: %w", i, err)
		}
		go func() {
			buffer := make([]byte, opts.chunk)
			for {
				if _, err := conn.Write(buffer); err != nil {
					broken <- fmt.Errorf("bulk stream %d ended: %w", i, err)
					return
				}
			}
		}()
	}
	startAt := time.Now().Add(seconds(opts.warmup))
	endAt := startAt.Add(seconds(opts.seconds))
	var running sync.WaitGroup
	var lock sync.Mutex
	var tookMicros []float64
	for i, conn := range conns {
		running.Go(func() {
			took, err := askUntil(conn, opts.think, startAt, endAt)
			if err != nil {
				broken <- fmt.Errorf("stream %d: %w", i, err)
				return
			}
			lock.Lock()
			defer lock.Unlock()
			tookMicros = append(tookMicros, took...)
		})
	}
	time.Sleep(time.Until(startAt))
	emit(result{"event": "steady"})
	running.Wait()
	select {
	case err := <-broken:
		return nil, err
	default:
	}
	if len(tookMicros) == 0 {
		return nil, errors.New("no answer came in the window")
	}
	return result{
		"streams": opts.streams, "bulk": opts.bulk, "count": len(tookMicros),
		"p50Micros": quantile(tookMicros, 0.5), "p99Micros": quantile(tookMicros, 0.99),
	}, nil
}

// askUntil returns how long the answers of the window took.
func askUntil(conn net.Conn, think time.Duration, startAt, endAt time.Time) ([]float64, error) {
	one := []byte{'.'}
	var tookMicros []float64
	for {
		askedAt := time.Now()
		if askedAt.After(endAt) {
			return tookMicros, nil
		}
		if _, err := conn.Write(one); err != nil {
			return nil, err
		}
		if _, err := io.ReadFull(conn, one); err != nil {
			return nil, err
		}
		if askedAt.After(startAt) {
			tookMicros = append(tookMicros, micros(askedAt))
		}
		// A different pause each time, because connections that ask at the same moment wait for each other.
		time.Sleep(think/2 + rand.N(think+1))
	}
}
