package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"culvert.test/ground/front"
)

// pingpong sends one byte and waits for its echo, again and again on one connection.
func pingpong(ctx context.Context, opts *options) (result, error) {
	conn, err := opts.open(ctx, kindEcho)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	one := []byte{'.'}
	tookMicros, err := repeat(opts.count, func() (float64, error) {
		startedAt := time.Now()
		if _, err := conn.Write(one); err != nil {
			return 0, err
		}
		if _, err := io.ReadFull(conn, one); err != nil {
			return 0, err
		}
		return micros(startedAt), nil
	})
	if err != nil {
		return nil, err
	}
	return result{
		"count": opts.count, "p50Micros": quantile(tookMicros, 0.5), "p99Micros": quantile(tookMicros, 0.99),
	}, nil
}

// dialAndClose opens and closes connections, one after the other, each through a tunnel of its own.
func dialAndClose(ctx context.Context, opts *options) (result, error) {
	var closeMicros []float64
	dialMicros, err := repeat(opts.count, func() (float64, error) {
		startedAt := time.Now()
		conn, err := opts.dial(ctx)
		if err != nil {
			return 0, err
		}
		took := micros(startedAt)
		startedAt = time.Now()
		err = front.Close(conn)
		closeMicros = append(closeMicros, micros(startedAt))
		return took, err
	})
	if err != nil {
		return nil, err
	}
	closeMicros = closeMicros[len(closeMicros)-opts.count:]
	return result{
		"count":          opts.count,
		"p50Micros":      quantile(dialMicros, 0.5),
		"p99Micros":      quantile(dialMicros, 0.99),
		"closeP50Micros": quantile(closeMicros, 0.5),
		"closeP99Micros": quantile(closeMicros, 0.99),
	}, nil
}

// repeat takes count samples after a tenth as many that warm up.
func repeat(count int, sample func() (float64, error)) ([]float64, error) {
	if count < 1 {
		return nil, errors.New("--count must be at least 1")
	}
	samples := make([]float64, 0, count)
	warmup := count/10 + 1
	for i := range warmup + count {
		if i == warmup {
			emit(result{"event": "steady"})
		}
		took, err := sample()
		if err != nil {
			return nil, fmt.Errorf("sample %d: %w", i, err)
		}
		if i >= warmup {
			samples = append(samples, took)
		}
	}
	return samples, nil
}

func quantile(samples []float64, q float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	return sorted[int(float64(len(sorted)-1)*q)]
}

func micros(since time.Time) float64 { return float64(time.Since(since).Nanoseconds()) / 1000 }
