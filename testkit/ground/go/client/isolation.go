package main

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"culvert.test/ground/pattern"
)

// isolation runs all streams but one at full speed, then adds the last one, which stalls, and prints how fast the others
// were before and while it stalled. Down: the stalled stream's client never reads (the library ends such a tunnel after
// 10 s, so measure for less). Up: the stalled stream writes to --stalled-to, a target that never reads.
func isolation(ctx context.Context, opts *options, _ []string) (result, error) {
	if opts.streams < 2 {
		return nil, fmt.Errorf("--streams must be at least 2, got %d", opts.streams)
	}
	stalledTo := opts.stalledTo
	if stalledTo == "" {
		stalledTo = opts.to
	}
	move := readAll
	if opts.direction == "up" {
		move = writeAll
	}

	moved := make([]atomic.Int64, opts.streams-1)
	for i := range moved {
		conn, err := opts.front.Dial(ctx, opts.to)
		if err != nil {
			return nil, fmt.Errorf("dial of stream %d: %w", i, err)
		}
		go move(conn, &moved[i])
	}
	// The first moments are start-up, not speed.
	time.Sleep(opts.window / 4)
	before := measure(moved, opts.window)

	conn, err := opts.front.Dial(ctx, stalledTo)
	if err != nil {
		return nil, fmt.Errorf("dial of the stalled stream: %w", err)
	}
	var stalled atomic.Int64
	if opts.direction == "up" {
		go writeAll(conn, &stalled)
	} else if _, err := conn.Write([]byte{'\n'}); err != nil {
		return nil, fmt.Errorf("first byte of the stalled stream: %w", err)
	}
	// By then its buffers along the way are full.
	time.Sleep(opts.window / 2)
	during := measure(moved, opts.window)

	return result{
		"streams":              opts.streams,
		"direction":            opts.direction,
		"beforeBytesPerSecond": before,
		"duringBytesPerSecond": during,
		"stalledSentBytes":     stalled.Load(),
	}, nil
}

func readAll(conn net.Conn, moved *atomic.Int64) {
	if _, err := conn.Write([]byte{'\n'}); err != nil {
		return
	}
	buffer := make([]byte, 256<<10)
	for {
		n, err := conn.Read(buffer)
		moved.Add(int64(n))
		if err != nil {
			return
		}
	}
}

func writeAll(conn net.Conn, moved *atomic.Int64) {
	for {
		n, err := conn.Write(pattern.At(moved.Load(), chunkBytes))
		moved.Add(int64(n))
		if err != nil {
			return
		}
	}
}

func measure(moved []atomic.Int64, window time.Duration) []int64 {
	from := make([]int64, len(moved))
	startedAt := time.Now()
	for i := range moved {
		from[i] = moved[i].Load()
	}
	time.Sleep(window)
	seconds := time.Since(startedAt).Seconds()
	for i := range moved {
		from[i] = int64(float64(moved[i].Load()-from[i]) / seconds)
	}
	return from
}
